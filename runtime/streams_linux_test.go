package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func TestOutputModes(t *testing.T) {
	tests := []struct {
		name           string
		stdout, stderr *spec.Stream // paths below the child's directory
		want           map[string]string
	}{
		{"create truncates", &spec.Stream{Path: "a", Mode: spec.Create}, &spec.Stream{Path: "b", Mode: spec.Create},
			map[string]string{"a": "out\n", "b": "err\n"}},
		{"append keeps", &spec.Stream{Path: "a", Mode: spec.Append}, &spec.Stream{Path: "b", Mode: spec.Append},
			map[string]string{"a": "old\nout\n", "b": "old\nerr\n"}},
		{"one file, create", &spec.Stream{Path: "a", Mode: spec.Create}, &spec.Stream{Path: "a", Mode: spec.Create},
			map[string]string{"a": "out\nerr\n"}},
		{"one file, one creates", &spec.Stream{Path: "a", Mode: spec.Append}, &spec.Stream{Path: "a", Mode: spec.Create},
			map[string]string{"a": "out\nerr\n"}},
		{"one file, append", &spec.Stream{Path: "a", Mode: spec.Append}, &spec.Stream{Path: "a", Mode: spec.Append},
			map[string]string{"a": "old\nout\nerr\n"}},
		{"one file by two names", &spec.Stream{Path: "a", Mode: spec.Append}, &spec.Stream{Path: "link", Mode: spec.Create},
			map[string]string{"a": "out\nerr\n"}},
		{"a new file", &spec.Stream{Path: "new", Mode: spec.Create}, &spec.Stream{Path: "/dev/null", Mode: spec.Create},
			map[string]string{"new": "out\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newHost(t)
			c := child(t, "sh", "-c", "echo out; echo err >&2")
			for _, name := range []string{"a", "b"} {
				if err := os.WriteFile(filepath.Join(c.Dir, name), []byte("old\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink("a", filepath.Join(c.Dir, "link")); err != nil {
				t.Fatal(err)
			}
			place := func(s *spec.Stream) *spec.Stream {
				return &spec.Stream{Path: inDir(c.Dir, s.Path), Mode: s.Mode}
			}
			c.Stdout, c.Stderr = place(tt.stdout), place(tt.stderr)
			start(t, h, c)
			if got, want := f.next(t), exited(1, code(0), true); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			for name, want := range tt.want {
				if got := read(t, filepath.Join(c.Dir, name)); got != want {
					t.Errorf("%s holds %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestOutputIsAppendOnlyAndBlocking(t *testing.T) {
	for _, mode := range []spec.OpenMode{spec.Create, spec.Append} {
		t.Run(string(mode), func(t *testing.T) {
			h, f := newHost(t)
			c := child(t, "cat", "/proc/self/fdinfo/1")
			c.Stdout = &spec.Stream{Path: outPath(c), Mode: mode}
			text := status(outputOf(t, h, f, c))
			flags, err := strconv.ParseInt(text["flags"], 8, 32)
			if err != nil {
				t.Fatal(err)
			}
			if flags&unix.O_APPEND == 0 || flags&unix.O_NONBLOCK != 0 || flags&unix.O_ACCMODE != unix.O_WRONLY {
				t.Errorf("flags %o", flags)
			}
		})
	}
}

func TestRelativeOutputIsRelativeToTheServer(t *testing.T) {
	h, f := newHost(t)
	c := child(t, "echo", "hello")
	t.Chdir(t.TempDir())
	c.Stdout = &spec.Stream{Path: "out", Mode: spec.Create}
	start(t, h, c)
	f.next(t)
	if got := read(t, "out"); got != "hello\n" {
		t.Errorf("got %q", got)
	}
}

func TestFIFOWithAReaderIsWrittenTo(t *testing.T) {
	h, f := newHost(t)
	c := child(t, "echo", "hello")
	c.Stdout = &spec.Stream{Path: c.Dir + "/fifo", Mode: spec.Create}
	if err := unix.Mkfifo(c.Stdout.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(c.Stdout.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	start(t, h, c)
	f.next(t)
	buf := make([]byte, 100)
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "hello\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}

// A child's user owns part of the way to its log: root must not be led
// elsewhere. Nothing else than the opening is root's, so that is what is tested.
func TestLogOfAnotherUserLeadsNowhereElse(t *testing.T) {
	nobody := asRoot(t)
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		t.Fatal(err)
	}
	const victim = "precious\n"
	tests := []struct {
		name string
		// setup makes the way below dir; dir/home belongs to the user,
		// dir/var to root, dir/victim is root's file.
		setup func(t *testing.T, dir string)
		path  string
		safe  bool
		owner int // of the file afterwards, if safe
	}{
		{"new file in the user's directory", func(*testing.T, string) {}, "home/log", true, uid},
		{"new file in root's directory", func(*testing.T, string) {}, "var/log", true, uid},
		{"file of the user", func(t *testing.T, dir string) {
			mustWrite(t, dir+"/home/log", uid)
		}, "home/log", true, uid},
		{"root's file in root's directory", func(t *testing.T, dir string) {
			mustWrite(t, dir+"/var/log", 0)
		}, "var/log", true, 0},
		{"root's link", func(t *testing.T, dir string) {
			mustLink(t, dir+"/var", dir+"/link", 0)
		}, "link/log", true, uid},
		{"root's relative link", func(t *testing.T, dir string) {
			mustLink(t, "../var/../var/log", dir+"/var/link", 0)
		}, "var/link", true, uid},
		{"dots and slashes", func(*testing.T, string) {}, ".//var/./log", true, uid},
		{"user's link to root's file", func(t *testing.T, dir string) {
			mustLink(t, dir+"/victim", dir+"/home/log", uid)
		}, "home/log", false, 0},
		{"user's link for a directory", func(t *testing.T, dir string) {
			mustLink(t, dir, dir+"/home/sub", uid)
		}, "home/sub/victim", false, 0},
		{"user's hard link", func(t *testing.T, dir string) {
			if err := os.Link(dir+"/victim", dir+"/home/log"); err != nil {
				t.Fatal(err)
			}
		}, "home/log", false, 0},
		{"root's link in the user's directory", func(t *testing.T, dir string) {
			mustLink(t, dir+"/victim", dir+"/home/log", 0)
		}, "home/log", false, 0},
		{"back out of the user's directory", func(*testing.T, string) {}, "home/../victim", false, 0},
		{"link that points at itself", func(t *testing.T, dir string) {
			mustLink(t, "loop", dir+"/loop", 0)
		}, "loop", false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"home", "var"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chown(dir+"/home", uid, uid); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/victim", []byte(victim), 0o644); err != nil {
				t.Fatal(err)
			}
			tt.setup(t, dir)
			open(t, dir)
			h, f := newHost(t)
			c := child(t, "echo", "hello")
			open(t, c.Dir)
			c.User = "nobody"
			c.Stdout = &spec.Stream{Path: dir + "/" + tt.path, Mode: spec.Create}
			before := descriptors(t)
			_, err := h.Start(c, 1)
			if err == nil {
				f.next(t)
			}
			if (err == nil) != tt.safe {
				t.Errorf("start: %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "refused, ") && !errors.Is(err, unix.ELOOP) {
				t.Errorf("start: %v", err)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors, before it were %d", after, before)
			}
			if got := read(t, dir+"/victim"); got != victim {
				t.Errorf("root's file holds %q", got)
			}
			if !tt.safe {
				return
			}
			if got := read(t, c.Stdout.Path); got != "hello\n" {
				t.Errorf("the log holds %q", got)
			}
			var st unix.Stat_t
			if err := unix.Stat(c.Stdout.Path, &st); err != nil || int(st.Uid) != tt.owner {
				t.Errorf("the log belongs to %d, %v; want %d", st.Uid, err, tt.owner)
			}
		})
	}
}

func mustWrite(t *testing.T, path string, uid int) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte("old\n"), 0o644), os.Chown(path, uid, uid)); err != nil {
		t.Fatal(err)
	}
}

func mustLink(t *testing.T, target, path string, uid int) {
	t.Helper()
	if err := errors.Join(os.Symlink(target, path), os.Lchown(path, uid, uid)); err != nil {
		t.Fatal(err)
	}
}

func TestUnusedDescriptorsAreClosedBeforeTheChildEnds(t *testing.T) {
	h, f := newHost(t)
	c := shell(t, "exec sleep 600")
	before := descriptors(t)
	start(t, h, c)
	if grown := descriptors(t) - before; grown != 1 {
		t.Errorf("a running child costs %d descriptors, want its pidfd only", grown)
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	f.next(t)
	if descriptors(t) != before {
		t.Errorf("%d descriptors, before it were %d", descriptors(t), before)
	}
}
