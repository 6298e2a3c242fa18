package store

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"kita/spec"
)

func line(t testing.TB, r record) []byte {
	t.Helper()
	l, err := encodeLine(r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func running(generation uint64) spec.Desired {
	return spec.Desired{Run: spec.Running, Generation: generation}
}

func set(generation uint64, names ...string) record {
	r := record{Set: map[string]spec.Desired{}}
	for _, name := range names {
		r.Set[name] = running(generation)
	}
	return r
}

func TestEncodedLineIsStable(t *testing.T) {
	got := string(line(t, set(4, "<web>")))
	want := `4a292185 {"set":{"<web>":{"run":"running","generation":4,"restart_generation":0}}}` + "\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestReadJournal(t *testing.T) {
	head := line(t, record{Format: journalFormat})
	one, two := line(t, set(1, "a", "b")), line(t, set(2, "a"))
	forget := line(t, record{Forget: []string{"b", "never"}})
	corrupt := bytes.Replace(two, []byte("running"), []byte("ruining"), 1)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	both := map[string]spec.Desired{"a": running(1), "b": running(1)}

	tests := []struct {
		name  string
		data  []byte
		want  state
		good  int
		torn  bool
		error string
	}{
		{name: "only the first record", data: head, good: len(head)},
		{name: "a later record wins", data: join(head, one, two), good: len(join(head, one, two)),
			want: state{desired: map[string]spec.Desired{"a": running(2), "b": running(1)}}},
		{name: "a record twice is harmless", data: join(head, one, two, two), good: len(join(head, one, two, two)),
			want: state{desired: map[string]spec.Desired{"a": running(2), "b": running(1)}}},
		{name: "forgotten", data: join(head, one, forget), good: len(join(head, one, forget)),
			want: state{desired: map[string]spec.Desired{"a": running(1)}}},
		{name: "begin takes ended back", data: join(head, line(t, record{Ended: true}), line(t, record{Boot: "x"})),
			good: len(join(head, line(t, record{Ended: true}), line(t, record{Boot: "x"}))), want: state{boot: "x"}},
		{name: "empty", error: "line 1: no line end"},
		{name: "no first record", data: one, error: "line 1: the first record has no format"},
		{name: "two first records", data: join(head, head), good: len(head), error: "line 2: a second first record"},
		{name: "torn within a line", data: join(head, one, two[:len(two)-3]), good: len(join(head, one)),
			want: state{desired: both}, torn: true, error: "line 3: no line end"},
		{name: "torn before the line end", data: join(head, one, two[:len(two)-1]), good: len(join(head, one)),
			want: state{desired: both}, torn: true, error: "line 3: no line end"},
		{name: "blocks never filled", data: join(head, one, make([]byte, 4096)), good: len(join(head, one)),
			want: state{desired: both}, torn: true, error: "line 3: no line end"},
		{name: "corrupt in the middle", data: join(head, one, corrupt, two), good: len(join(head, one)),
			want: state{desired: both}, error: "line 3: wrong checksum"},
		{name: "corrupt last line", data: join(head, one, corrupt), good: len(join(head, one)),
			want: state{desired: both}, error: "line 3: wrong checksum"},
		{name: "no checksum", data: join(head, []byte("{}\n")), good: len(head), error: "line 2: no checksum"},
		{name: "checksum is no number", data: join(head, []byte("xxxxxxxx {}\n")), good: len(head), error: "line 2: no checksum"},
		{name: "a newer format", data: []byte(string(line(t, record{Format: 2}))),
			error: "the journal has format 2 and this kita reads only 1: run the version that wrote it, or move the file away"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want.desired == nil {
				tt.want.desired = map[string]spec.Desired{}
			}
			st, good, err := readJournal(tt.data)
			if !reflect.DeepEqual(st, tt.want) || good != tt.good {
				t.Errorf("got %+v, %d bytes; want %+v, %d bytes", st, good, tt.want, tt.good)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.error {
				t.Errorf("error %q, want %q", text, tt.error)
			}
			var damage *damageError
			if errors.As(err, &damage) && damage.torn != tt.torn {
				t.Errorf("torn %v, want %v", damage.torn, tt.torn)
			}
		})
	}
}

// FuzzReadJournal reads bytes as they are, and as lines that were given the
// checksums that the fuzzer would never find.
func FuzzReadJournal(f *testing.F) {
	head := line(f, record{Format: journalFormat})
	f.Add([]byte(""))
	f.Add(head)
	f.Add(append(bytes.Clone(head), line(f, set(3, "web", "ü\n"))...))
	f.Add([]byte("{\"format\":1}\n{\"boot\":\"b\"}\n{\"ended\":true}\n{\"set\":{\"a\":{\"run\":\"stopped\",\"generation\":1,\"at\":\"2026-01-02T03:04:05+02:00\"}}}\n{\"forget\":[\"a\"]}\n"))
	f.Add([]byte("{\"format\":2}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkReadWriteRead(t, data)
		var sealed []byte
		for _, l := range bytes.Split(data, []byte{'\n'}) {
			sealed = append(sealed, seal(l)...)
		}
		checkReadWriteRead(t, sealed)
	})
}

func seal(json []byte) []byte {
	l := append([]byte("00000000 "), json...)
	putSum(l)
	return append(l, '\n')
}

func checkReadWriteRead(t *testing.T, data []byte) {
	st, good, _ := readJournal(data)
	if good < 0 || good > len(data) {
		t.Fatalf("%d of %d bytes are good", good, len(data))
	}
	written, err := st.snapshot()
	if err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	again, n, err := readJournal(written)
	if err != nil || n != len(written) {
		t.Fatalf("what was written cannot be read: %d of %d bytes, %v\n%s", n, len(written), err, written)
	}
	twice, err := again.snapshot()
	if err != nil || !bytes.Equal(twice, written) {
		t.Fatalf("the state changed: %v\n%s\n%s", err, written, twice)
	}
	if good > 0 {
		prefix, _, err := readJournal(data[:good])
		if text, _ := prefix.snapshot(); err != nil || !bytes.Equal(text, written) {
			t.Fatalf("the good part alone reads differently: %v", err)
		}
	}
}
