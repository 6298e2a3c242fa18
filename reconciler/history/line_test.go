package history

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// fullEvent has a value in every field that there is, so that one that is added is
// not forgotten here.
func fullEvent(t testing.TB) spec.Event {
	var e spec.Event
	fill := reflect.ValueOf(&e).Elem()
	for i := range fill.NumField() {
		switch f := fill.Field(i); f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(time.Date(2026, 1, 31, 2, 11, 11, 7e6, time.UTC)))
		case *time.Time:
			at := time.Date(2026, 1, 31, 2, 11, 12, 0, time.UTC)
			f.Set(reflect.ValueOf(&at))
		case *spec.Exit:
			f.Set(reflect.ValueOf(&spec.Exit{Known: true, Code: 3}))
		case []int:
			f.Set(reflect.ValueOf([]int{5, 6}))
		case []string:
			f.Set(reflect.ValueOf([]string{"a", "b"}))
		default:
			switch f.Kind() {
			case reflect.String:
				f.SetString("text")
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Int, reflect.Int64:
				f.SetInt(9)
			case reflect.Uint64:
				f.SetUint(9)
			default:
				t.Fatalf("a field of type %v", f.Type())
			}
		}
	}
	return e
}

func TestEveryFieldIsWritten(t *testing.T) {
	h := open(t, t.TempDir())
	e := fullEvent(t)
	h.Add(e)
	e.Seq = 1
	if got := readAll(t, h); len(got) != 1 || !reflect.DeepEqual(got[0], e) {
		t.Errorf("got\n%+v\nwant\n%+v", got, e)
	}
}

// What is written is what encoding/json would write.
func TestLinesAreThoseOfEncodingJSON(t *testing.T) {
	at := time.Date(2026, 1, 31, 2, 11, 11, 0, time.UTC)
	for _, e := range []spec.Event{
		fullEvent(t),
		{Type: spec.EventServer, At: at},
		{Type: spec.EventStarted, At: at, Child: "<&ü>\"\\", By: "a\x00\x7f\n\xff\u2028", Message: "\t"},
	} {
		e.Seq = 12
		var want bytes.Buffer
		j := json.NewEncoder(&want)
		j.SetEscapeHTML(false)
		if err := j.Encode(e); err != nil {
			t.Fatal(err)
		}
		line, err := encode(&e, at)
		if got := lineStart + "12" + string(line); err != nil || got != want.String() {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want.String())
		}
	}
}

// The quick way to the head of a line and the sure one say the same.
func TestHeadsAreRead(t *testing.T) {
	for _, e := range []spec.Event{
		fullEvent(t),
		{Type: spec.EventServer},
		{Child: `a"b\c`, Type: spec.EventStarted},
		{Child: "<ü>", Type: spec.EventStarted, Message: `","type":"exited"`},
	} {
		line, err := encode(&e, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		line = append([]byte(lineStart+"77"), bytes.TrimSuffix(line, []byte("\n"))...)
		h, ok := readHead(line)
		whole, isEvent := decode(line)
		if want := (head{whole.Seq, whole.At, whole.Child, whole.Type}); !ok || !isEvent || h != want {
			t.Errorf("%s: %+v, want %+v", line, h, want)
		}
		if _, quick := scanHead(line); quick == strings.ContainsAny(e.Child, `"\`) {
			t.Errorf("%s: the quick way: %v", line, quick)
		}
	}
}

func FuzzSend(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2026-01-31T02:11:11Z","child":"web","type":"started"}` + "\n"))
	f.Add([]byte(`{"seq":1,"time":"2026-01-31T02:11:11Z","type":"server"}` + "\n{\"kept\":   12}\n\n" + `{"type":"x","seq":9}`))
	f.Add([]byte(`{"seq":3,"time":"x","child":"\u0000","type":"exited","exit":{}}}` + "\n"))
	dir := f.TempDir()
	path := filepath.Join(dir, fileName)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		h := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		defer h.Close()
		h.Add(started("new", 1))
		got := readAll(t, h)
		if len(got) == 0 || got[len(got)-1].Child != "new" || got[len(got)-1].Type != spec.EventStarted {
			t.Fatalf("what was added is not the last of %v", brief(got))
		}
		for i := range got[1:] {
			if got[i].Seq >= got[i+1].Seq {
				t.Fatalf("%d comes before %d", got[i].Seq, got[i+1].Seq)
			}
		}
		h.Close()
		w := &writer{path: path}
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		before := w.file
		after, _, err := w.compacted(time.Now())
		_ = before.Close()
		if err != nil {
			t.Fatal(err)
		}
		_ = after.Close()
	})
}
