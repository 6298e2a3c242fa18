package exitlog

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const boot = "11111111-2222-3333-4444-555555555555"

func end(n int) Record {
	return Record{
		PID: n, StartTicks: uint64(1000 + n), Boot: boot, Child: "web", Incarnation: uint64(n),
		Status: 3 << 8, At: time.Unix(1_700_000_000+int64(n), 0).UTC(),
	}
}

func ends(from, to int) []Record {
	var all []Record
	for n := from; n <= to; n++ {
		all = append(all, end(n))
	}
	return all
}

func mustOpen(t *testing.T, dir, boot string) *Writer {
	t.Helper()
	w, err := OpenWriter(dir, boot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func mustAppend(t *testing.T, w *Writer, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func wantAll(t *testing.T, dir string, want []Record) {
	t.Helper()
	got, err := OpenReader(dir).All()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %d records %.300v\nwant %d %.300v", len(got), got, len(want), want)
	}
}

func TestWhatIsAppendedIsRead(t *testing.T) {
	dir := t.TempDir()
	wantAll(t, dir, nil)
	w := mustOpen(t, dir, boot)
	unnamed := end(3)
	unnamed.Child, unnamed.Incarnation = "", 0
	mustAppend(t, w, end(1), end(2), unnamed)
	// A second writer goes on where the first ended.
	mustAppend(t, mustOpen(t, dir, boot), end(4))
	wantAll(t, dir, []Record{end(1), end(2), unnamed, end(4)})
	st, err := os.Stat(filepath.Join(dir, Name))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestWriterTakesOver(t *testing.T) {
	line := func(r Record) string {
		text, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	other := end(1)
	other.Boot = "another"
	flipped := strings.Replace(line(end(1)), `"pid":1`, `"pid":9`, 1)
	tests := []struct {
		name, file string
		want       []Record
	}{
		{"empty", "", []Record{end(7)}},
		{"whole", line(end(1)), []Record{end(1), end(7)}},
		{"torn tail", line(end(1)) + line(end(2))[:30], []Record{end(1), end(7)}},
		{"only a torn tail", line(end(2))[:30], []Record{end(7)}},
		{"a damaged line", line(end(3)) + flipped + line(end(2)), []Record{end(3), end(2), end(7)}},
		{"another boot", line(other), []Record{end(7)}},
		{"another boot, torn", line(other) + line(end(2))[:30], []Record{end(7)}},
		{"another boot before this one", line(other) + line(end(2)), []Record{other, end(2), end(7)}},
		{"zeroes", line(end(1)) + "\x00\x00\x00", []Record{end(1), end(7)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, Name), []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, mustOpen(t, dir, boot), end(7))
			wantAll(t, dir, tt.want)
		})
	}
}

func TestAnotherBootTakesTheFormerFileToo(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, boot)
	w.max = 200
	mustAppend(t, w, ends(1, 3)...)
	mustOpen(t, dir, "the next boot")
	wantAll(t, dir, nil)
}

func TestRotationKeepsTheLastTwoFiles(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, boot)
	line, err := encode(end(10))
	if err != nil {
		t.Fatal(err)
	}
	w.max = int64(4 * len(line))
	mustAppend(t, w, ends(10, 19)...)
	wantAll(t, dir, ends(14, 19)) // 14 to 17, 18 and 19
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestFindFollowsTheFile(t *testing.T) {
	dir := t.TempDir()
	r := OpenReader(dir)
	if _, ok := r.Find(10, 1010, boot); ok {
		t.Fatal("found in no file")
	}
	w := mustOpen(t, dir, boot)
	line, err := encode(end(10))
	if err != nil {
		t.Fatal(err)
	}
	w.max = int64(4 * len(line))
	find := func(n int) {
		t.Helper()
		if got, ok := r.Find(n, uint64(1000+n), boot); !ok || !reflect.DeepEqual(got, end(n)) {
			t.Errorf("%d: %v, %v", n, got, ok)
		}
	}
	// One by one, over several renames.
	for n := 10; n <= 30; n++ {
		mustAppend(t, w, end(n))
		find(n)
	}
	// The former file's are still known, older ones are forgotten.
	find(29)
	find(26)
	if _, ok := r.Find(12, 1012, boot); ok {
		t.Error("what is not on disk any more is still remembered")
	}
	// One rename, then several between two calls.
	mustAppend(t, w, ends(31, 36)...)
	find(33)
	mustAppend(t, w, ends(37, 60)...)
	find(60)
	find(56)
	for _, other := range []who{{60, 1, boot}, {60, 1060, "another"}, {61, 1061, boot}} {
		if got, ok := r.Find(other.pid, other.start, other.boot); ok {
			t.Errorf("%v found %v", other, got)
		}
	}
}

func TestFindTakesNoUnfinishedLine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Name)
	line, err := encode(end(1))
	if err != nil {
		t.Fatal(err)
	}
	r := OpenReader(dir)
	for n := range line {
		if err := os.WriteFile(path, line[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.Find(1, 1001, boot); ok {
			t.Fatalf("found in %d of %d bytes", n, len(line))
		}
	}
	if err := os.WriteFile(path, line, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Find(1, 1001, boot); !ok {
		t.Error("not found in the whole line")
	}
}

// TestShortWriteIsCutBack fills a file system of a few pages.
func TestShortWriteIsCutBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("kita", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	w := mustOpen(t, dir, boot)
	written := 0
	var err error
	for n := 1; n < 1000 && err == nil; n++ {
		if err = w.Append(end(n)); err == nil {
			written = n
		}
	}
	if err == nil || written == 0 {
		t.Fatalf("%d written, %v", written, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil || !strings.HasSuffix(string(text), "\n") {
		t.Errorf("the file ends in %q, %v", text[max(0, len(text)-20):], err)
	}
	wantAll(t, dir, ends(1, written))
	// With room again it goes on.
	if err := unix.Mount("kita", dir, "tmpfs", unix.MS_REMOUNT, "size=64k"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, end(written+1))
	wantAll(t, dir, ends(1, written+1))
}

func TestReadersBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, boot)
	w.max = 4000
	const last = 2000
	found := make(chan error, 2)
	appended := make(chan int, last)
	r := OpenReader(dir)
	for range 2 {
		go func() {
			for n := range appended {
				if _, ok := r.Find(n, uint64(1000+n), boot); !ok {
					// Only what two renames took away may be missing.
					if all, err := OpenReader(dir).All(); err != nil || len(all) == 0 || all[0].PID <= n {
						found <- fmt.Errorf("%d was not found, %v", n, err)
						return
					}
				}
			}
			found <- nil
		}()
	}
	for n := 1; n <= last; n++ {
		mustAppend(t, w, end(n))
		appended <- n
	}
	close(appended)
	for range 2 {
		if err := <-found; err != nil {
			t.Error(err)
		}
	}
}

// encode returns r as a line; an error for a time that JSON cannot write.
func encode(r Record) ([]byte, error) {
	_, err := r.At.MarshalJSON()
	return appendLine(nil, r), err
}

func TestRecordsAreJSON(t *testing.T) {
	for _, r := range []Record{
		{},
		end(1),
		{PID: 1<<31 - 1, StartTicks: 1<<64 - 1, Boot: boot, Incarnation: 1<<64 - 1, Status: 1<<32 - 1, At: time.Now().Round(0)},
		{Child: "with \"quotes\" and \\ <&> \x01\x7f\u2028 é \xff", At: time.Unix(0, 1)},
	} {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendJSON(nil, r); string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestRecordsAreAppendedTogether(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, boot)
	w.max = 4000
	for n := 1; n <= 20; n += 4 {
		if err := w.Append(ends(n, n+3)...); err != nil {
			t.Fatal(err)
		}
	}
	wantAll(t, dir, ends(1, 20))
}

func BenchmarkAppend(b *testing.B) {
	w, err := OpenWriter(b.TempDir(), boot)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	r := end(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Append(r); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	line, err := encode(end(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := decodeAll(data, func(r Record) {
			again, err := encode(r)
			if err != nil {
				return // a year that JSON cannot write
			}
			back, err := decode(again[:len(again)-1])
			if err != nil || back.PID != r.PID || back.Status != r.Status || !back.At.Equal(r.At) {
				t.Errorf("%v became %v, %v", r, back, err)
			}
		})
		if n > len(data) || n > 0 && data[n-1] != '\n' {
			t.Errorf("%d of %d bytes", n, len(data))
		}
	})
}

// TestALogThatWasRemovedIsMadeAgain has somebody remove the run directory between two
// ends: both are on record, and so are those after them.
func TestALogThatWasRemovedIsMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := mustOpen(t, dir, boot)
	mustAppend(t, w, end(1), end(2))
	for n := 3; n <= 5; n++ {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, end(n))
		if got, err := OpenReader(dir).All(); err != nil || !reflect.DeepEqual(got, ends(1, n)) {
			t.Fatalf("after %d: %v, %v", n, got, err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestALogInAnothersPlaceIsWrittenTo keeps what is in the file that took the place.
func TestALogInAnothersPlaceIsWrittenTo(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, boot)
	mustAppend(t, w, end(2))
	if err := os.Remove(filepath.Join(dir, Name)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, mustOpen(t, dir, boot), end(1))
	mustAppend(t, w, end(3))
	if got, err := OpenReader(dir).All(); err != nil || !reflect.DeepEqual(got, ends(1, 3)) {
		t.Errorf("%v, %v", got, err)
	}
}
