package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openDir lets every user into the directories of a test's directory.
func openDir(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDirectoriesAreMadeForTheOwner(t *testing.T) {
	onlyRoot(t)
	tests := []struct {
		name string
		// owner is whose dir/home is, root's if nil.
		home  *Owner
		setup func(t *testing.T, dir string)
		path  string
		want  string // the error; empty for none
	}{
		{"in root's directory", nil, nil, "home/a/b/log", ""},
		{"in the user's directory", nobody, nil, "home/a/b/log", ""},
		{"where one is there", nobody, func(t *testing.T, dir string) {
			mustMake(t, dir+"/home/a", nobody)
		}, "home/a/b/log", ""},
		{"root's directory in the user's", nobody, func(t *testing.T, dir string) {
			mustMake(t, dir+"/home/a", nil)
		}, "home/a/b/log", "refused"},
		{"below another user's", &Owner{1234, 1234}, nil, "home/a/b/log", "refused"},
		{"below a file", nil, func(t *testing.T, dir string) {
			if err := os.WriteFile(dir+"/home/a", nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "home/a/b/log", "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			openDir(t, dir)
			mustMake(t, dir+"/home", tt.home)
			if tt.setup != nil {
				tt.setup(t, dir)
			}
			path := filepath.Join(dir, tt.path)
			fd, err := openOutput(path, nobody, true)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
			for at := path; at != dir+"/home"; at = filepath.Dir(at) {
				var st unix.Stat_t
				if err := unix.Lstat(at, &st); err != nil || st.Uid != nobody.UID || st.Gid != nobody.GID {
					t.Errorf("%s is %d:%d's, %v", at, st.Uid, st.Gid, err)
				}
				if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFDIR && st.Mode&0o777 != 0o755 {
					t.Errorf("%s has the mode %o", at, st.Mode)
				}
			}
		})
	}
}

func mustMake(t *testing.T, dir string, owner *Owner) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if owner == nil {
		return
	}
	if err := os.Chown(dir, int(owner.UID), int(owner.GID)); err != nil {
		t.Fatal(err)
	}
}

// TestDirectoryThatIsNotEmptyIsNotGivenAway: somebody put another directory in
// the place of the one that was made.
func TestDirectoryThatIsNotEmptyIsNotGivenAway(t *testing.T) {
	onlyRoot(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/secret", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := giveDirectory(fd, nobody); !errors.Is(err, errUnsafe) {
		t.Errorf("got %v", err)
	}
	if st, err := statFD(fd); err != nil || st.Uid != 0 {
		t.Errorf("it is %d's, %v", st.Uid, err)
	}
}

func TestPlace(t *testing.T) {
	for _, owner := range []*Owner{nil, nobody} {
		name := "the server's own"
		if owner != nil {
			name = "another user's"
		}
		t.Run(name, func(t *testing.T) {
			if owner != nil {
				onlyRoot(t)
			}
			dir := t.TempDir()
			openDir(t, dir)
			mustMake(t, dir+"/logs", owner)
			if err := os.Symlink("logs", dir+"/link"); err != nil {
				t.Fatal(err)
			}
			p, err := findPlace(dir+"/link/web.log", owner)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if p.path != dir+"/logs" || p.name != "web.log" {
				t.Errorf("%s in %s", p.name, p.path)
			}
			testPlace(t, p, owner)
		})
	}
}

func testPlace(t *testing.T, p *place, owner *Owner) {
	t.Helper()
	fd, err := p.create("a", 0o640)
	if err != nil {
		t.Fatal(err)
	}
	st, err := statFD(fd)
	unix.Close(fd)
	if err != nil || st.Mode&0o7777 != 0o640 || owner != nil && st.Uid != owner.UID {
		t.Errorf("the file is %o, of %d, %v", st.Mode, st.Uid, err)
	}
	if _, err := p.create("a", 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	if err := p.rename("a", "b"); err != nil {
		t.Error(err)
	}
	if fd, err := p.create("a", 0o600); err != nil {
		t.Error(err)
	} else {
		unix.Close(fd)
	}
	if err := p.rename("a", "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("took the place of another file: %v", err)
	}
	for _, bad := range []struct {
		name string
		make func(path string) error
	}{
		{"link", func(path string) error { return os.Symlink("b", path) }},
		{"fifo", func(path string) error { return unix.Mkfifo(path, 0o600) }},
		{"dir", func(path string) error { return os.Mkdir(path, 0o755) }},
	} {
		if err := bad.make(p.at(bad.name)); err != nil {
			t.Fatal(err)
		}
		if fd, err := p.open(bad.name, unix.O_RDONLY); err == nil {
			unix.Close(fd)
			t.Errorf("opened a %s", bad.name)
		}
	}
	if names, err := p.names(); err != nil || !slices.Contains(names, "b") || len(names) != 5 {
		t.Errorf("names %v, %v", names, err)
	}
	if err := errors.Join(p.remove("a"), p.remove("a"), p.sync()); err != nil {
		t.Error(err)
	}
}

func TestPlaceRefusesAHardLinkOfAnotherUser(t *testing.T) {
	onlyRoot(t)
	dir := t.TempDir()
	openDir(t, dir)
	mustMake(t, dir+"/home", nobody)
	if err := errors.Join(os.WriteFile(dir+"/secret", nil, 0o600), os.Link(dir+"/secret", dir+"/home/web.log")); err != nil {
		t.Fatal(err)
	}
	p, err := findPlace(dir+"/home/web.log", nobody)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if _, err := p.open("web.log", unix.O_RDWR); !errors.Is(err, errUnsafe) {
		t.Errorf("got %v", err)
	}
}

func TestAbsolute(t *testing.T) {
	t.Chdir("/usr/lib")
	for path, want := range map[string]string{
		"/var//log/./web.log": "/var/log/web.log",
		"/var/../web.log":     "/var/../web.log",
		"web.log":             "/usr/lib/web.log",
		"../web.log":          "/usr/lib/../web.log",
		"/a..b":               "/a..b",
	} {
		if got, err := absolute(path); err != nil || got != want {
			t.Errorf("%s is %s, %v, want %s", path, got, err, want)
		}
	}
}
