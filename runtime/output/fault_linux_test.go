package output

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// TestFileThatWentAstray has something happen to the file of a process that goes
// on writing. Nothing it writes is lost, and it is told.
func TestFileThatWentAstray(t *testing.T) {
	small := &spec.Rotate{Size: 4096, Keep: 100, Compress: spec.NoCompression}
	tests := []struct {
		name string
		// astray does it to dir/logs/web.log, undo takes it back; nil: that cannot be.
		astray, undo func(dir string) error
		want         string
		rotated      bool
	}{
		{"removed", func(dir string) error { return os.Remove(dir + "/logs/web.log") }, nil,
			"logs/web.log was removed; what the process writes is kept", true},
		{"removed with its directory", func(dir string) error { return os.RemoveAll(dir + "/logs") }, nil,
			"was removed with its directory; what the process writes is kept", true},
		{"replaced by a file", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/new", nil, 0o644), os.Rename(dir+"/new", dir+"/logs/web.log"))
		}, nil, "was replaced by another file; what the process writes is kept", true},
		{"replaced by a link", func(dir string) error {
			return errors.Join(os.Symlink(dir+"/other", dir+"/link"), os.Rename(dir+"/link", dir+"/logs/web.log"))
		}, nil, "was replaced by a symbolic link; ", true},
		{"replaced by a FIFO", func(dir string) error {
			return errors.Join(unix.Mkfifo(dir+"/fifo", 0o600), os.Rename(dir+"/fifo", dir+"/logs/web.log"))
		}, nil, "was replaced by a FIFO; ", true},
		{"moved", func(dir string) error { return os.Rename(dir+"/logs/web.log", dir+"/old.log") },
			func(dir string) error { return os.Rename(dir+"/old.log", dir+"/logs/web.log") },
			"/old.log; the process goes on writing there", false},
		{"its directory is moved", func(dir string) error { return os.Rename(dir+"/logs", dir+"/old") },
			func(dir string) error { return os.Rename(dir+"/old", dir+"/logs") },
			"/old/web.log; the process goes on writing there", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, told := newManager(t, nil)
			dir := t.TempDir()
			c := childTo(filepath.Join(dir, "logs", "web.log"), spec.Append, small)
			r := launch(t, m, c, 1)
			r.write(t, "before\n")
			f := theFile(t, m, c)
			awaitThat(t, "written", func() bool { _, end := f.Bounds(); return end == 7 })
			if err := tt.astray(dir); err != nil {
				t.Fatal(err)
			}
			awaitFault(t, told, tt.want)
			want := "before\n" + strings.Repeat("after it\n", 1000)
			r.write(t, want[7:])
			awaitThat(t, "all of it", func() bool { return content(t, f) == want })
			if tt.rotated {
				awaitThat(t, "an archive", func() bool { return len(f.Segments()) > 1 })
			}
			if tt.undo != nil {
				if err := tt.undo(dir); err != nil {
					t.Fatal(err)
				}
				awaitFault(t, told, "")
				awaitThat(t, "an archive", func() bool { return len(f.Segments()) > 1 })
			}
			if got := content(t, f); got != want {
				t.Errorf("%d bytes are there of %d", len(got), len(want))
			}
		})
	}
}

func TestRemovedFileIsReadAndRotatedOn(t *testing.T) {
	m, told := newManager(t, nil)
	dir := filepath.Join(t.TempDir(), "logs")
	path := filepath.Join(dir, "web.log")
	c := childTo(path, spec.Append, &spec.Rotate{Size: 4096, Keep: 100, Compress: spec.NoCompression})
	r := launch(t, m, c, 1)
	r.write(t, "before\n")
	f := theFile(t, m, c)
	awaitThat(t, "written", func() bool { _, end := f.Bounds(); return end == 7 })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	awaitFault(t, told, "was removed with its directory; what the process writes is kept")
	r.write(t, strings.Repeat("after it was removed\n", 1000))
	awaitThat(t, "an archive", func() bool { return len(f.Segments()) > 2 })
	if got, want := content(t, f), "before\n"+strings.Repeat("after it was removed\n", 1000); got != want {
		t.Errorf("%d bytes are there of %d", len(got), len(want))
	}
	r.write(t, "the rest")
	r.end(t)
	m.Detach("web", 1)
	awaitThat(t, "the rest is in an archive", func() bool { return strings.HasSuffix(content(t, f), "the rest") })
	r = launch(t, m, c, 2)
	r.write(t, "next\n")
	awaitThat(t, "all of it", func() bool {
		return content(t, f) == "before\n"+strings.Repeat("after it was removed\n", 1000)+"the restnext\n"
	})
}
