package output

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// TestFileInAUsersDirectoryIsShown: what a child of root's writes to in an ordinary
// user's directory is read, and nothing that the user puts in its place.
func TestFileInAUsersDirectoryIsShown(t *testing.T) {
	onlyRoot(t)
	for _, tt := range []struct {
		name string
		// swap is what the user does to dir/home, with dir/home/logs/web.log.
		swap func(dir string) error
		want string // what is shown; empty: refused
	}{
		{"nothing", func(string) error { return nil }, "a line\n"},
		{"another directory", func(dir string) error {
			return errors.Join(os.Rename(dir+"/home/logs", dir+"/home/old"), os.Mkdir(dir+"/home/logs", 0o755),
				os.WriteFile(dir+"/home/logs/web.log", []byte("secret\n"), 0o600))
		}, ""},
		{"a link to root's directory", func(dir string) error {
			return errors.Join(os.Rename(dir+"/home/logs", dir+"/home/old"), os.Symlink(dir+"/victim", dir+"/home/logs"),
				os.Lchown(dir+"/home/logs", int(nobody.UID), int(nobody.GID)))
		}, ""},
		{"a link to the file itself", func(dir string) error {
			return errors.Join(os.Rename(dir+"/home/logs", dir+"/home/old"), os.Symlink("old", dir+"/home/logs"),
				os.Lchown(dir+"/home/logs", int(nobody.UID), int(nobody.GID)))
		}, ""},
		{"another name of the file", func(dir string) error {
			return os.Link(dir+"/home/logs/web.log", dir+"/home/other")
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			openDir(t, dir)
			mustMake(t, dir+"/home", nobody)
			mustMake(t, dir+"/home/logs", nil)
			mustMake(t, dir+"/victim", nil)
			if err := os.WriteFile(dir+"/victim/web.log", []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			m, _ := newManager(t, nil)
			p, err := m.Prepare(childTo(dir+"/home/logs/web.log", spec.Append, rules()), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if _, err := unix.Write(p.FD(spec.Out), []byte("a line\n")); err != nil {
				t.Fatal(err)
			}
			if _, err := p.pinned[0].file.measure(at); err != nil {
				t.Fatal(err)
			}
			if err := tt.swap(dir); err != nil {
				t.Fatal(err)
			}
			r, err := p.pinned[0].file.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if string(got) != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %q, %v", got, err)
			}
			fd, err := p.pinned[0].file.openLive(unix.O_RDWR)
			if err == nil {
				unix.Close(fd)
				t.Error("it is opened to be rotated")
			}
		})
	}
}
