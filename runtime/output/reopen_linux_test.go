package output

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// TestReopenDoesNotFollowAUser: also for a child that runs as root nothing that an
// ordinary user put on the way leads to a file of root's.
func TestReopenDoesNotFollowAUser(t *testing.T) {
	onlyRoot(t)
	asNobody := func(link string) error { return os.Lchown(link, int(nobody.UID), int(nobody.GID)) }
	for _, tt := range []struct {
		name string
		// lay puts something at dir/home, which is the user's.
		lay     func(dir string) error
		path    string
		refused bool
	}{
		{"the user's directory", func(string) error { return nil }, "home/web.log", false},
		{"a link of root's on the way", func(dir string) error { return os.Symlink("home", dir+"/link") }, "link/web.log", false},
		{"a link of the user's on the way", func(dir string) error {
			return errors.Join(os.Symlink(dir+"/victim", dir+"/home/logs"), asNobody(dir+"/home/logs"))
		}, "home/logs/web.log", true},
		{"the same, and the file is there", func(dir string) error {
			return errors.Join(os.Symlink(dir+"/victim", dir+"/home/logs"), asNobody(dir+"/home/logs"), os.WriteFile(dir+"/victim/web.log", nil, 0o600))
		}, "home/logs/web.log", true},
		{"a link at the path", func(dir string) error {
			return errors.Join(os.Symlink(dir+"/victim/new", dir+"/home/web.log"), asNobody(dir+"/home/web.log"))
		}, "home/web.log", true},
		{"another name of a file of root's", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/victim/secret", nil, 0o600), os.Link(dir+"/victim/secret", dir+"/home/web.log"))
		}, "home/web.log", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			openDir(t, dir)
			mustMake(t, dir+"/home", nobody)
			mustMake(t, dir+"/victim", nil)
			if err := tt.lay(dir); err != nil {
				t.Fatal(err)
			}
			before := namesIn(t, dir+"/victim")
			fd, err := Reopen(spec.Output{Path: filepath.Join(dir, tt.path)})
			if err == nil {
				unix.Close(fd)
			}
			if (err != nil) != tt.refused {
				t.Errorf("got %v", err)
			}
			if after := namesIn(t, dir+"/victim"); after != before {
				t.Errorf("root's directory has %d files, before it had %d", after, before)
			}
		})
	}
}

func namesIn(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestPumpIsNotLedElsewhere: the directory of a pumped file is swapped for a link
// to root's while the child runs.
func TestPumpIsNotLedElsewhere(t *testing.T) {
	onlyRoot(t)
	m, told := newManager(t, func(o *Options) {
		o.Reopened = func(string, uint64, spec.Output, int) bool {
			t.Error("the pump is given another file")
			return true
		}
	})
	dir := t.TempDir()
	openDir(t, dir)
	home, victim := dir+"/home", dir+"/victim"
	mustMake(t, home, nobody)
	mustMake(t, home+"/logs", nobody)
	mustMake(t, victim, nil)
	c := childTo(home+"/logs/web.log", spec.Append, nil)
	r := launch(t, m, c, 1)
	// What Launch is told of a pumped stream.
	m.Detach("web", 1)
	r.outs[0].FIFOs = map[spec.StreamName]string{spec.Out: "/fifo", spec.Err: "/fifo"}
	m.Attach("web", r.identity(), c, r.outs)
	err := errors.Join(os.Rename(home+"/logs", home+"/old"), os.Symlink(victim, home+"/logs"), os.Lchown(home+"/logs", int(nobody.UID), int(nobody.GID)))
	if err != nil {
		t.Fatal(err)
	}
	// A directory with another name is no event of the file; a write to it is.
	r.write(t, "line\n")
	awaitFault(t, told, errUnsafe.Error())
	if n := namesIn(t, victim); n != 0 {
		t.Errorf("root's directory has %d files", n)
	}
}
