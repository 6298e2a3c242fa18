package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// at is the time of the tests; nothing here depends on which it is.
var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fileSystems are those that the tests are done on: one that collapses, as that
// of the temporary directory is hoped to be, and one that only punches.
var fileSystems = []struct {
	name string
	dir  func(testing.TB) string
}{
	{"disk", func(t testing.TB) string { return t.TempDir() }},
	{"tmpfs", memory},
}

// memory is a directory on a tmpfs.
func memory(t testing.TB) string {
	t.Helper()
	const shm = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(shm, &fs); err != nil || int64(fs.Type) != unix.TMPFS_MAGIC {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no tmpfs at %s", shm)
		}
		t.Skipf("no tmpfs at %s", shm)
	}
	dir, err := os.MkdirTemp(shm, "kita-output-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func onEach(t *testing.T, test func(t *testing.T, dir string)) {
	for _, fs := range fileSystems {
		t.Run(fs.name, func(t *testing.T) { test(t, fs.dir(t)) })
	}
}

// stream is an output file under test, with its writer.
type stream struct {
	t      testing.TB
	state  string
	shared *shared
	*File
	writer *os.File
}

// rules are those of the tests where nothing else matters.
func rules() *spec.Rotate {
	return &spec.Rotate{Size: 4096, Keep: 1000, Compress: spec.NoCompression}
}

// newStream has a writer append to web.log in dir, as a child does.
func newStream(t testing.TB, dir string, r *spec.Rotate) *stream {
	t.Helper()
	s := &stream{t: t, state: t.TempDir()}
	s.restart(filepath.Join(dir, "web.log"))
	s.append(filepath.Join(dir, "web.log"))
	s.configure(r)
	return s
}

// restart opens the file as a new server does.
func (s *stream) restart(path string) {
	s.t.Helper()
	var rules *spec.Rotate
	if s.File != nil {
		rules = s.rules
	}
	var err error
	if s.shared, err = newShared(s.state); err != nil {
		s.t.Fatal(err)
	}
	if s.File, err = s.shared.open(path, nil); err != nil {
		s.t.Fatal(err)
	}
	if rules != nil {
		s.configure(rules)
	}
	if s.writer != nil {
		s.bindTo(s.writer)
	}
}

// append opens the file for the writer, and says so.
func (s *stream) append(path string) {
	s.t.Helper()
	if s.writer != nil {
		s.writer.Close()
	}
	var err error
	if s.writer, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.writer.Close() })
	s.bindTo(s.writer)
}

func (s *stream) bindTo(f *os.File) {
	s.t.Helper()
	if err := s.bind(s.t.Context(), keyOf(int(f.Fd())), 0); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stream) write(text string) {
	s.t.Helper()
	if _, err := s.writer.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// keepNow is keepSmall without its back-off and thread, so that a panic of a
// stage reaches the test.
func (s *stream) keepNow() error {
	done, err := s.take(s.t.Context())
	if err != nil {
		return err
	}
	defer done()
	return s.keep(s.t.Context(), at)
}

func (s *stream) mustKeep() {
	s.t.Helper()
	if err := s.keepNow(); err != nil {
		s.t.Fatal(err)
	}
}

// readAll reads from a position to the end, over losses.
func (s *stream) readAll(from uint64) (text string, lost []LostError) {
	s.t.Helper()
	r, err := s.Open(from)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	text, lost, err = drain(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return text, lost
}

func drain(r *Reader) (text string, lost []LostError, err error) {
	var all strings.Builder
	buf := make([]byte, 5000)
	for {
		n, err := r.Read(buf)
		all.Write(buf[:n])
		var gone *LostError
		switch {
		case errors.As(err, &gone):
			lost = append(lost, *gone)
		case err == io.EOF:
			return all.String(), lost, nil
		case err != nil:
			return all.String(), lost, err
		}
	}
}

// lines are numbered ones of 16 bytes.
func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %010d\n", i)
	}
	return b.String()
}

func (s *stream) check(from uint64, want string) {
	s.t.Helper()
	got, lost := s.readAll(from)
	if len(lost) > 0 {
		s.t.Errorf("lost %v", lost)
	}
	if got != want {
		s.t.Errorf("read %d bytes, want %d; they differ from byte %d on", len(got), len(want), differ(got, want))
	}
}

func differ(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestRotationKeepsEveryByteAndPosition(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		text := lines(0, 1000)
		s.write(text)
		s.mustKeep()
		s.check(0, text)
		s.check(5000, text[5000:])
		s.write("unfinished")
		s.mustKeep()
		s.check(15_990, (text + "unfinished")[15_990:])
		if oldest, end := s.Bounds(); oldest != 0 || end != 16_010 {
			t.Errorf("bounds are %d and %d", oldest, end)
		}
		want := []Segment{{0, 4096, at, true}, {4096, 8192, at, true}, {8192, 12_288, at, true}, {Start: 12_288, End: 16_010}}
		if got := s.Segments(); !slices.Equal(got, want) {
			t.Errorf("segments are %v, want %v", got, want)
		}
	})
}

func TestRotationFreesTheHead(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		s.write(lines(0, 1000))
		s.mustKeep()
		got, err := lookAt(s.path)
		if err != nil {
			t.Fatal(err)
		}
		if got.allocated > 4096 {
			t.Errorf("%d bytes are allocated for what is in no archive", got.allocated)
		}
		if s.shared.volumes.known[got.key.Dev] == collapses && got.size != 3712 {
			t.Errorf("the file is %d bytes long and should have collapsed to 3712", got.size)
		}
	})
}

func TestArchivesEndAtLineEnds(t *testing.T) {
	long := strings.Repeat("x", 3000)
	tests := []struct {
		name string
		size uint64
		text string
		ends []uint64
	}{
		{"the last line end before the size", 4096, long + "\n" + long + "\n", []uint64{3001}},
		{"a line end at the size", 4096, long + "\n" + strings.Repeat("y", 1094) + "\nrest", []uint64{4096}},
		{"a line longer than the size", 4096, long + long + "\n" + "rest", []uint64{6001}},
		{"a line longer than can be", mostLine, strings.Repeat("x", 2*mostLine) + "x\n", []uint64{mostLine, 2*mostLine + 2}},
		{"less than the size", 4096, long, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := rules()
			r.Size = test.size
			s := newStream(t, t.TempDir(), r)
			s.write(test.text)
			s.mustKeep()
			var ends []uint64
			for _, seg := range s.Segments() {
				if seg.Archive {
					ends = append(ends, seg.End)
				}
			}
			if !slices.Equal(ends, test.ends) {
				t.Errorf("archives end at %v, want %v", ends, test.ends)
			}
			s.check(0, test.text)
		})
	}
}

func TestRotateNowTakesCompleteLines(t *testing.T) {
	tests := []struct{ name, text, archived string }{
		{"whole lines", "a\nb\n", "a\nb\n"},
		{"an unfinished one", "a\nb", "a\n"},
		{"no whole line", "a", ""},
		{"nothing", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStream(t, t.TempDir(), rules())
			s.write(test.text)
			made, err := s.rotate(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			var want []spec.Archive
			if n := uint64(len(test.archived)); n > 0 {
				want = []spec.Archive{{Path: s.path + ".000001", Size: n, Bytes: n, At: at}}
			}
			if !slices.Equal(made, want) {
				t.Errorf("made %v, want %v", made, want)
			}
			for _, a := range made {
				if got, err := os.ReadFile(a.Path); err != nil || string(got) != test.archived {
					t.Errorf("the archive is %q, %v", got, err)
				}
			}
			s.check(0, test.text)
		})
	}
}

func TestRotatesEverySoOften(t *testing.T) {
	r := rules()
	r.Every = spec.Duration(time.Hour)
	s := newStream(t, t.TempDir(), r)
	s.write("a\n")
	began := s.deadline(time.Now())
	if wait := time.Until(began); wait < 50*time.Minute || wait > time.Hour {
		t.Fatalf("the first time is in %v", wait)
	}
	for i, step := range []struct {
		now      time.Time
		archives int
	}{
		{began.Add(-time.Second), 0}, {began, 1}, {began.Add(time.Minute), 1},
		{began.Add(time.Hour), 1}, // nothing was written
		{began.Add(90 * time.Minute), 1}, {began.Add(2 * time.Hour), 2},
	} {
		if i == 4 {
			s.write("b\n")
		}
		if err := s.keepSmall(t.Context(), step.now); err != nil {
			t.Fatal(err)
		}
		if got := len(s.record().Archives); got != step.archives {
			t.Errorf("%v after the first time there are %d archives, want %d", step.now.Sub(began), got, step.archives)
		}
		if s.deadline(step.now).Before(step.now) {
			t.Errorf("the next time, %v, is not after %v", s.deadline(step.now), step.now)
		}
	}
}
