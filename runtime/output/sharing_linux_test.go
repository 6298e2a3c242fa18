package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

// named is a child to a file, by a name of its own.
func named(name, path string, rotate *spec.Rotate) *spec.Child {
	c := childTo(path, spec.Append, rotate)
	c.Name = name
	return c
}

func TestFileByTwoNamesIsOne(t *testing.T) {
	small := &spec.Rotate{Size: 4096, Keep: 1000, Compress: spec.NoCompression}
	tests := []struct {
		name  string
		other string
		setup func(dir string) error
	}{
		{"spelt otherwise", "logs//./web.log", func(string) error { return nil }},
		{"by way of a link", "link/web.log", func(dir string) error { return os.Symlink("logs", dir+"/link") }},
		{"a hard link", "hard.log", func(dir string) error { return os.Link(dir+"/logs/web.log", dir+"/hard.log") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := newManager(t, nil)
			dir := t.TempDir()
			if err := os.Mkdir(dir+"/logs", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/logs/web.log", nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := tt.setup(dir); err != nil {
				t.Fatal(err)
			}
			a, b := named("a", dir+"/logs/web.log", nil), named("b", dir+"/"+tt.other, small)
			first, second := launch(t, m, a, 1), launch(t, m, b, 1)
			for i := range 500 {
				first.write(t, fmt.Sprintf("first %d\n", i))
				second.write(t, fmt.Sprintf("second %d\n", i))
			}
			if one, other := m.Files("a", a)[0].File, m.Files("b", b)[0].File; one != other {
				t.Fatalf("two files: %s and %s", one.Path(), other.Path())
			}
			f := m.Files("a", a)[0].File
			awaitThat(t, "rotated as the other asks", func() bool { return len(f.Segments()) > 2 })
			first.end(t)
			second.end(t)
			text := content(t, f)
			for i := range 500 {
				for _, line := range []string{fmt.Sprintf("first %d\n", i), fmt.Sprintf("second %d\n", i)} {
					if strings.Count("\n"+text, "\n"+line) != 1 {
						t.Fatalf("%q is there %d times", line, strings.Count("\n"+text, "\n"+line))
					}
				}
			}
			m.Detach("b", 1)
			if f.room(); m.Files("a", a)[0].File != f {
				t.Error("another file once one of the two has ended")
			}
		})
	}
}

func TestWhatIsToBeginEmpty(t *testing.T) {
	tests := []struct {
		name   string
		mode   spec.OpenMode
		rotate *spec.Rotate
		want   string // of what is shown after three runs
	}{
		{"kept", spec.Append, nil, "1\n2\nunfinished3\n"},
		{"truncated", spec.Create, nil, "3\n"},
		{"made an archive", spec.Create, &spec.Rotate{Size: 1 << 20, Keep: 10, Compress: spec.Gzip}, "1\n2\nunfinished3\n"},
		{"made an archive, of which one is kept", spec.Create, &spec.Rotate{Size: 1 << 20, Keep: 1, Compress: spec.NoCompression}, "2\nunfinished3\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := newManager(t, nil)
			c := childTo(filepath.Join(t.TempDir(), "web.log"), tt.mode, tt.rotate)
			for i, text := range []string{"1\n", "2\nunfinished", "3\n"} {
				r := launch(t, m, c, uint64(i+1))
				r.write(t, text)
				r.end(t)
				m.Detach("web", uint64(i+1))
			}
			f := theFile(t, m, c)
			awaitThat(t, "shown", func() bool { return content(t, f) == tt.want })
			if _, end := f.Bounds(); end != 16 {
				t.Errorf("%d bytes were written in all", end)
			}
			live, err := os.ReadFile(f.Path())
			if want := "3\n"; tt.mode == spec.Create && (err != nil || string(live) != want) {
				t.Errorf("the live file holds %q, %v", live, err)
			}
		})
	}
}

func TestNextManagerGoesOn(t *testing.T) {
	state := t.TempDir()
	m, _ := newManager(t, func(o *Options) { o.StateDir = state })
	c := childTo(filepath.Join(t.TempDir(), "web.log"), spec.Append, &spec.Rotate{Size: 4096, Keep: 1000, Compress: spec.Zstd})
	r := launch(t, m, c, 1)
	var want strings.Builder
	for server := range 5 {
		for i := range 300 {
			fmt.Fprintf(&want, "server %d, line %d\n", server, i)
			r.write(t, fmt.Sprintf("server %d, line %d\n", server, i))
		}
		f := theFile(t, m, c)
		awaitThat(t, "rotated", func() bool { return f.shown().Rotations > uint64(server) })
		m.Close()
		m, _ = newManager(t, func(o *Options) { o.StateDir = state })
		m.Attach("web", r.identity(), nil, r.outs)
		m.Configure(c)
	}
	r.end(t)
	if got := content(t, theFile(t, m, c)); got != want.String() {
		t.Errorf("%d bytes are shown of %d", len(got), want.Len())
	}
}

func TestFilesOfAChildThatDoesNotRun(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(dir+"/old.log", []byte("old\n"), 0o644), os.Mkdir(dir+"/dir", 0o755)); err != nil {
		t.Fatal(err)
	}
	both := func(out, err string) *spec.Child {
		return &spec.Child{Name: "web", Stdout: &spec.Stream{Path: out}, Stderr: &spec.Stream{Path: err}}
	}
	tests := []struct {
		name string
		c    *spec.Child
		want string
	}{
		{"none", &spec.Child{Name: "web"}, ""},
		{"no child", nil, ""},
		{"one that is there", childTo(dir+"/old.log", spec.Append, nil), "old.log 4 [out err]"},
		{"one that is not there", childTo(dir+"/new.log", spec.Append, nil), "new.log 0 [out err]"},
		{"two", both(dir+"/old.log", dir+"/new.log"), "old.log 4 [out], new.log 0 [err]"},
		{"no regular file", both("/dev/null", dir+"/dir"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := newManager(t, nil)
			var got []string
			for _, f := range m.Shown("web", tt.c) {
				got = append(got, fmt.Sprintf("%s %d %v", filepath.Base(f.Path), f.Size, f.Streams))
			}
			if joined := strings.Join(got, ", "); joined != tt.want {
				t.Errorf("got %q, want %q", joined, tt.want)
			}
		})
	}
}

func TestPumpIsGivenTheFileAnew(t *testing.T) {
	given := make(chan int, 1)
	m, told := newManager(t, func(o *Options) {
		o.Reopened = func(_ string, _ uint64, _ spec.Output, fd int) bool {
			given <- dup(t, fd)
			return true
		}
	})
	c := childTo(filepath.Join(t.TempDir(), "logs", "web.log"), spec.Append, nil)
	r := launch(t, m, c, 1)
	// What Launch is told of a pumped stream.
	m.Detach("web", 1)
	r.outs[0].FIFOs = map[spec.StreamName]string{spec.Out: "/fifo", spec.Err: "/fifo"}
	m.Attach("web", r.identity(), c, r.outs)
	r.write(t, "before\n")
	f := theFile(t, m, c)
	awaitThat(t, "written", func() bool { _, end := f.Bounds(); return end == 7 })
	if err := os.Remove(f.Path()); err != nil {
		t.Fatal(err)
	}
	anew := os.NewFile(uintptr(<-given), f.Path())
	defer anew.Close()
	if _, err := anew.WriteString("after\n"); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, "all of it", func() bool { return content(t, f) == "before\nafter\n" })
	awaitFault(t, told, "")
	if live, err := os.ReadFile(f.Path()); err != nil || string(live) != "after\n" {
		t.Errorf("the file holds %q, %v", live, err)
	}
	// The next server is told of the file that the run began with.
	m.Close()
	m, _ = newManager(t, func(o *Options) { o.StateDir = m.o.StateDir })
	m.Attach("web", r.identity(), c, r.outs)
	if got := content(t, theFile(t, m, c)); got != "before\nafter\n" {
		t.Errorf("the next server shows %q", got)
	}
}

func TestBudgetHoldsForAllFilesTogether(t *testing.T) {
	const budget = 64 << 10
	m, _ := newManager(t, func(o *Options) { o.Budget = func() uint64 { return budget } })
	dir := t.TempDir()
	var all []*File
	for _, name := range []string{"a", "b"} {
		c := named(name, filepath.Join(dir, name), &spec.Rotate{Size: 8192, Keep: 1000, Compress: spec.NoCompression})
		r := launch(t, m, c, 1)
		for range 5000 {
			r.write(t, strings.Repeat(name, 31)+"\n")
		}
		all = append(all, m.Files(name, c)[0].File)
	}
	awaitThat(t, "within the budget", func() bool {
		written := uint64(0)
		for _, f := range all {
			_, end := f.Bounds()
			written += end
		}
		return written == 2*5000*32 && m.Used() <= budget
	})
	if oldest, _ := all[1].Bounds(); oldest == 0 {
		t.Error("what is written to the second file is all kept")
	}
}
