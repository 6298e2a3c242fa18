package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// read is what the next server finds.
func (d *dirs) read(t *testing.T, boot string) (map[string]string, []error) {
	t.Helper()
	s := d.open(t, boot)
	defer mustClose(t, s)
	facts, errs := s.Facts()
	texts := map[string]string{}
	for name, f := range facts {
		texts[name] = string(f.Data)
	}
	return texts, errs
}

// TestTableIsWhatWasSavedLast saves facts of changing length and removes some,
// through many lives of the store.
func TestTableIsWhatWasSavedLast(t *testing.T) {
	d := newDirs(t)
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	for life := range 20 {
		s := d.open(t, "1")
		for step := range 50 {
			name := fmt.Sprint("child ", random.IntN(12))
			if random.IntN(4) == 0 {
				if err := s.RemoveFacts(name); err != nil {
					t.Fatal(err)
				}
				delete(want, name)
				continue
			}
			want[name] = fmt.Sprintf(`"%d.%d%s"`, life, step, strings.Repeat("x", random.IntN(1200)))
			mustSave(t, s, name, want[name])
			if random.IntN(3) == 0 {
				s.Rest()
			}
		}
		mustClose(t, s)
		if got, errs := d.read(t, "1"); !reflect.DeepEqual(got, want) || errs != nil {
			t.Fatalf("life %d: got %v, %v\nwant %v", life, got, errs, want)
		}
	}
	info, err := os.Stat(d.factsPath(tableName))
	if err != nil || info.Size() > 12*4*2048 {
		t.Errorf("the table has grown to %d bytes (%v)", info.Size(), err)
	}
}

// TestKilledWriterLeavesWhatWasInForce cuts and damages the table wherever a
// killed writer can have stopped: before each byte of a write.
func TestKilledWriterLeavesWhatWasInForce(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	mustSave(t, s, "db", `"stays"`)
	mustSave(t, s, "web", `"first"`)
	mustSave(t, s, "web", `"before"`)
	mustSave(t, s, "big", `"small"`)
	content := func() []byte {
		data, err := os.ReadFile(d.factsPath(tableName))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	before := content()
	mustSave(t, s, "web", `"after"`)
	inPlace := content()
	mustSave(t, s, "big", `"`+strings.Repeat("x", 8*unit)+`"`)
	appended := content()
	mustClose(t, s)
	if len(inPlace) != len(before) || len(appended) == len(inPlace) {
		t.Fatalf("sizes %d, %d, %d: the test does not do what it says", len(before), len(inPlace), len(appended))
	}
	check := func(what string, content []byte, name, old, fresh string) {
		t.Helper()
		d.writeFacts(t, tableName, content)
		got, _ := d.read(t, "1")
		if got[name] != old && got[name] != fresh || got["db"] != `"stays"` || len(got) != 3 {
			t.Fatalf("%s: %v", what, got)
		}
	}
	for i := range before {
		if before[i] == inPlace[i] {
			continue
		}
		torn := append(bytes.Clone(inPlace[:i]), before[i:]...)
		check(fmt.Sprint("in place, to ", i), torn, "web", `"before"`, `"after"`)
	}
	for length := len(inPlace); length < len(appended); length += 16 {
		torn := append(bytes.Clone(inPlace), appended[len(inPlace):length]...)
		check(fmt.Sprint("appended, to ", length), torn, "big", `"small"`, `"`+strings.Repeat("x", 8*unit)+`"`)
	}
}

func TestTableOfAnotherBootOrFormatIsVoid(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	mustSave(t, s, "web", `1`)
	mustClose(t, s)
	if got, errs := d.read(t, "2"); len(got) != 0 || len(errs) != 1 || !strings.Contains(errs[0].Error(), "of another boot") {
		t.Errorf("read %v, %v", got, errs)
	}
	s = d.open(t, "2")
	mustSave(t, s, "db", `2`)
	mustClose(t, s)
	if got, errs := d.read(t, "2"); !reflect.DeepEqual(got, map[string]string{"db": `2`}) || errs != nil {
		t.Errorf("read %v, %v", got, errs)
	}
	head, err := encodeLine(tableHead{Format: tableFormat + 1, Boot: "2"})
	if err != nil {
		t.Fatal(err)
	}
	d.writeFacts(t, tableName, head)
	if err := Check(d.state, d.run, "2"); err == nil || !strings.Contains(err.Error(), "format 3, this kita reads 1 and 2") {
		t.Errorf("checked: %v", err)
	}
}

func TestAllFactsComeBackWhenTheTableWasRemoved(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	mustSave(t, s, "web", `1`)
	mustSave(t, s, "db", `2`)
	for _, rest := range []bool{false, true} {
		if rest {
			s.Rest()
		}
		if err := os.Remove(d.factsPath(tableName)); err != nil {
			t.Fatal(err)
		}
		mustSave(t, s, "db", `2`)
		if _, err := os.Stat(d.factsPath(tableName)); err != nil {
			t.Fatalf("at rest %v: %v", rest, err)
		}
	}
	mustClose(t, s)
	if got, errs := d.read(t, "1"); !reflect.DeepEqual(got, map[string]string{"web": `1`, "db": `2`}) || errs != nil {
		t.Errorf("read %v, %v", got, errs)
	}
}

// Somebody may have made a copy by a hard link, or put a copy back.
func TestTableIsKnownByItsPath(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	mustSave(t, s, "web", `1`)
	mustSave(t, s, "db", `1`)
	path, copied := d.factsPath(tableName), filepath.Join(d.run, "copy")
	for step := range 4 {
		if step >= 2 {
			s.Rest()
		}
		awaitTick(t, path)
		var err error
		if step%2 == 0 {
			err = errors.Join(os.Link(path, copied), os.Remove(path))
		} else {
			err = os.Rename(copied, path)
		}
		if err != nil {
			t.Fatal(err)
		}
		value := fmt.Sprint(step + 2)
		mustSave(t, s, "web", value)
		next := table{dir: filepath.Dir(path), boot: "1"}
		facts, torn, err := next.load()
		next.close()
		if string(facts["web"]) != value || string(facts["db"]) != `1` || torn != 0 || err != nil {
			t.Errorf("step %d: the next server reads %q, %v", step, facts, err)
		}
	}
}

// awaitTick returns once the kernel gives a change of path another time than that
// of the last write.
func awaitTick(t *testing.T, path string) {
	t.Helper()
	for {
		var st unix.Stat_t
		if err := errors.Join(os.Chmod(path, 0o600), unix.Stat(path, &st)); err != nil {
			t.Fatal(err)
		}
		if st.Ctim != st.Mtim {
			return
		}
	}
}

func FuzzTable(f *testing.F) {
	d := table{dir: f.TempDir(), boot: "b"}
	d.slots, d.free, d.end = map[string]pair{}, map[uint16][]uint32{}, 1
	for i := range 3 {
		line := append(newLine(nil, fmt.Sprint("c", i%2)), fmt.Sprintf("{\"n\":%d}\n", i)...)
		if _, err := d.put(fmt.Sprint("c", i%2), line); err != nil {
			f.Fatal(err)
		}
	}
	content, err := os.ReadFile(d.path())
	if err != nil {
		f.Fatal(err)
	}
	d.close()
	f.Add(content)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		at := table{dir: t.TempDir(), boot: "b"}
		at.slots, at.free = map[string]pair{}, map[uint16][]uint32{}
		facts, _ := at.index(content)
		for name, p := range at.slots {
			if end := int(p.now.at+uint32(p.now.units)) * unit; end > len(content) || p.now.units == 0 {
				t.Errorf("%q lies at %+v of %d bytes", name, p.now, len(content))
			}
			if len(facts[name]) != int(p.size) {
				t.Errorf("%q has %d bytes, noted are %d", name, len(facts[name]), p.size)
			}
		}
	})
}

// BenchmarkSaveFacts is one save of one of 10,000 children.
func BenchmarkSaveFacts(b *testing.B) {
	d := &dirs{state: b.TempDir(), run: b.TempDir(), log: &bytes.Buffer{}}
	s, err := Open(d.options("1"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	names := make([]string, 10000)
	for i := range names {
		names[i] = fmt.Sprintf("c%05d", i)
	}
	data := []byte(`{"n":0000000000,"x":"` + strings.Repeat("x", 600) + `"}`)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		copy(data[5:], fmt.Appendf(nil, "%010d", i))
		if err := s.SaveState(names[i%len(names)], appended(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is a durable change with as many callers as say: what each
// waits is shared.
func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 1000} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			d := &dirs{state: b.TempDir(), run: b.TempDir(), log: &bytes.Buffer{}}
			s, err := Open(d.options("1"))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.ReportAllocs()
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for generation := uint64(1); pb.Next(); generation++ {
					change := map[string]spec.Desired{"web": running(generation)}
					if err := s.SetDesired(context.Background(), change); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
