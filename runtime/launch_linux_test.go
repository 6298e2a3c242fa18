package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// write makes a file that may be executed.
func write(t testing.TB, path, text string) {
	t.Helper()
	// A shell writes it, not this process: a fork of another test at the wrong
	// moment would keep it open for writing, and exec answers ETXTBSY then.
	cmd := exec.Command("sh", "-c", `cat >"$0" && chmod 755 "$0"`, path)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestFailedStartSaysWhy(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, c *spec.Child)
		// want has DIR for the child's directory.
		want  string
		errno error
	}{
		{"no command", func(t *testing.T, c *spec.Child) { c.Command = nil },
			"the command is empty", nil},
		{"no such file", func(t *testing.T, c *spec.Child) { c.Command = []string{"./x"} },
			"exec ./x: no such file or directory", unix.ENOENT},
		{"not in PATH", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"x"}
			c.Env = []spec.EnvVar{{Name: "PATH", Value: "/nope:/bin"}}
		}, "exec x: no such file or directory in PATH=/nope:/bin", unix.ENOENT},
		{"not executable", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"./x"}
			os.WriteFile(c.Dir+"/x", []byte("#!/bin/sh\n"), 0o644)
		}, "exec ./x: permission denied (it is not executable)", unix.EACCES},
		{"not executable in PATH", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"x"}
			c.Env = []spec.EnvVar{{Name: "PATH", Value: "."}}
			os.WriteFile(c.Dir+"/x", []byte("#!/bin/sh\n"), 0o644)
		}, "exec ./x: permission denied (it is not executable)", unix.EACCES},
		{"a directory", func(t *testing.T, c *spec.Child) { c.Command = []string{"/etc"} },
			"exec /etc: permission denied (it is a directory)", unix.EACCES},
		{"no #! line", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"./x"}
			write(t, c.Dir+"/x", "echo hi\n")
		}, "exec ./x: exec format error (no #! line)", unix.ENOEXEC},
		{"empty file", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"./x"}
			write(t, c.Dir+"/x", "")
		}, "exec ./x: exec format error (the file is empty)", unix.ENOEXEC},
		{"broken ELF", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"./x"}
			write(t, c.Dir+"/x", "\x7fELF, it says\n")
		}, "exec ./x: exec format error (it is built for another machine)", unix.ENOEXEC},
		{"missing interpreter", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"./x"}
			write(t, c.Dir+"/x", "#! /usr/bin/nope -x\n")
		}, "exec ./x: no such file or directory (its interpreter /usr/bin/nope is missing)", unix.ENOENT},
		{"script from Windows", func(t *testing.T, c *spec.Child) {
			c.Command = []string{"./x"}
			write(t, c.Dir+"/x", "#!/bin/sh\r\n")
		}, `exec ./x: no such file or directory (its interpreter "/bin/sh\r" is missing)`, unix.ENOENT},
		{"missing directory", func(t *testing.T, c *spec.Child) { c.Dir += "/nope" },
			"chdir DIR/nope: no such file or directory", unix.ENOENT},
		{"directory is a file", func(t *testing.T, c *spec.Child) {
			c.Dir += "/file"
			os.WriteFile(c.Dir, nil, 0o644)
		}, "chdir DIR/file: not a directory", unix.ENOTDIR},
		{"unknown user", func(t *testing.T, c *spec.Child) { c.User = "nobody2" },
			"user nobody2: unknown user", nil},
		{"unknown group", func(t *testing.T, c *spec.Child) { c.Group = "nogroup2" },
			"group nogroup2: unknown group", nil},
		{"output below a file", func(t *testing.T, c *spec.Child) {
			write(t, c.Dir+"/file", "")
			c.Stdout = &spec.Stream{Path: c.Dir + "/file/out"}
		}, "open DIR/file/out: not a directory", unix.ENOTDIR},
		{"rotated output is a FIFO", func(t *testing.T, c *spec.Child) {
			c.Stdout = &spec.Stream{Path: c.Dir + "/fifo", Rotate: &spec.Rotate{Size: 4096}}
			unix.Mkfifo(c.Stdout.Path, 0o600)
		}, "open DIR/fifo: it is a FIFO, rotation needs a regular file: remove it, or write rotate: off", nil},
		{"rotated output is a link", func(t *testing.T, c *spec.Child) {
			c.Stdout = &spec.Stream{Path: c.Dir + "/link", Rotate: &spec.Rotate{Size: 4096}}
			os.Symlink("out", c.Stdout.Path)
		}, "open DIR/link: it is a symbolic link, rotation needs a regular file: remove it, or write rotate: off", nil},
		{"pumped output without a pump", func(t *testing.T, c *spec.Child) {
			c.Stdout = &spec.Stream{Path: c.Dir + "/out", Format: spec.Text}
		}, "pump DIR/out: format, timestamps and prefix need a server with a run directory", nil},
		{"output is a directory", func(t *testing.T, c *spec.Child) {
			c.Stderr = &spec.Stream{Path: c.Dir}
		}, "open DIR: is a directory", unix.EISDIR},
		{"FIFO without a reader", func(t *testing.T, c *spec.Child) {
			c.Stdout = &spec.Stream{Path: c.Dir + "/fifo"}
			unix.Mkfifo(c.Stdout.Path, 0o600)
		}, "open DIR/fifo: no such device or address (a FIFO that nobody reads, or a socket)", unix.ENXIO},
		{"no env_file", func(t *testing.T, c *spec.Child) { c.EnvFile = "nope.env" },
			"open DIR/nope.env: no such file or directory", unix.ENOENT},
		{"broken env_file", func(t *testing.T, c *spec.Child) {
			c.EnvFile = "x.env"
			os.WriteFile(c.Dir+"/x.env", []byte("A=1\nB\nC='\n"), 0o644)
		}, "DIR/x.env:2: no '=', write NAME=VALUE\nDIR/x.env:3: C: the quote is not closed", nil},
		{"env_file is a FIFO", func(t *testing.T, c *spec.Child) {
			c.EnvFile = "fifo"
			unix.Mkfifo(c.Dir+"/fifo", 0o600)
		}, "open DIR/fifo: not a regular file", nil},
		{"NUL in an argument", func(t *testing.T, c *spec.Child) { c.Command = []string{"echo", "a\x00b"} },
			`the argument "a\x00b" of the command holds a NUL`, nil},
		{"limit of no name", func(t *testing.T, c *spec.Child) { c.Limits = []spec.Limit{{Name: "colour"}} },
			"limit colour: there is none of that name", nil},
		{"soft above hard", func(t *testing.T, c *spec.Child) {
			c.Limits = []spec.Limit{{Name: "core", Soft: 0, Hard: 0}, {Name: "nofile", Soft: 20, Hard: 10}}
		}, "set limit nofile to 20 soft, 10 hard: invalid argument", unix.EINVAL},
		{"no such file, through the shim", func(t *testing.T, c *spec.Child) {
			c.Command, c.Umask = []string{"./x"}, new(uint32)
		}, "exec ./x: no such file or directory", unix.ENOENT},
		{"no #! line, through the shim", func(t *testing.T, c *spec.Child) {
			c.Command, c.Umask = []string{"./x"}, new(uint32)
			write(t, c.Dir+"/x", "echo hi\n")
		}, "exec ./x: exec format error (no #! line)", unix.ENOEXEC},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newHost(t)
			c := child(t, "true")
			dir := c.Dir
			tt.setup(t, c)
			before := descriptors(t)
			_, err := h.Start(c, 1)
			if err == nil {
				f.next(t)
				t.Fatal("started")
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if tt.errno != nil && !errors.Is(err, tt.errno) {
				t.Errorf("%v is not %v", err, tt.errno)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors, before it were %d", after, before)
			}
			if len(h.processes) != 0 {
				t.Errorf("remembers %v", h.processes)
			}
		})
	}
}

func TestMissingCommandTruncatesNoOutput(t *testing.T) {
	h, _ := newHost(t)
	c := child(t, "nope")
	c.Stdout = &spec.Stream{Path: outPath(c), Mode: spec.Create}
	if err := os.WriteFile(outPath(c), []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Start(c, 1); err == nil {
		t.Fatal("started")
	}
	if got := read(t, outPath(c)); got != "kept" {
		t.Errorf("output is %q", got)
	}
}

func TestCommandIsLookedUpWhereTheChildIs(t *testing.T) {
	tests := []struct {
		name, command, file string
		path                string // "" leaves PATH as it is
	}{
		{"with a slash, in its directory", "./hello", "hello", ""},
		{"below its directory", "sub/hello", "sub/hello", ""},
		{"PATH of the child's environment", "hello", "bin/hello", "/nope:DIR/bin"},
		{"relative PATH", "hello", "bin/hello", "/nope:bin"},
		{"empty entry of PATH", "hello", "hello", "/nope:"},
		{"what cannot be executed is passed over", "hello", "bin/hello", "dirs:bin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newHost(t)
			c := shell(t, "")
			c.Command = []string{tt.command}
			for _, dir := range []string{"sub", "bin", "dirs/hello"} {
				if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(c.Dir, tt.file), "#!/bin/sh\necho $(/bin/pwd)\n")
			if tt.path != "" {
				path := strings.ReplaceAll(tt.path, "DIR", c.Dir)
				c.Env = []spec.EnvVar{{Name: "PATH", Value: path}}
			}
			if got := outputOf(t, h, f, c); got != c.Dir+"\n" {
				t.Errorf("got %q, want %q", got, c.Dir)
			}
		})
	}
}

// paths runs a test on the direct path and through the shim.
func paths(t *testing.T, test func(t *testing.T, through func(*spec.Child) *spec.Child)) {
	t.Run("direct", func(t *testing.T) {
		test(t, func(c *spec.Child) *spec.Child { return c })
	})
	t.Run("shim", func(t *testing.T) {
		test(t, func(c *spec.Child) *spec.Child {
			c.Umask = new(uint32(0o22))
			return c
		})
	})
}

func TestChildInheritsThreeDescriptorsOnly(t *testing.T) {
	paths(t, func(t *testing.T, through func(*spec.Child) *spec.Child) {
		// One as a careless parent of the server would leave it.
		leaked, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(leaked)
		h, f := newHost(t)
		id := start(t, h, through(child(t, "sh", "-c", "kill -STOP $$")))
		// By then the dynamic loader has closed what it opened.
		awaitStopped(t, id.PID)
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", id.PID))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("descriptors %q", got)
		}
		h.Signal("web", 1, spec.Signal(unix.SIGKILL))
		f.next(t)
	})
}

// status returns the fields of a /proc/PID/status.
func status(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			fields[key] = strings.Join(strings.Fields(value), " ")
		}
	}
	return fields
}

const noSignals = "0000000000000000"

func TestChildHasDefaultSignals(t *testing.T) {
	paths(t, func(t *testing.T, through func(*spec.Child) *spec.Child) {
		h, f := newHost(t)
		c := through(shell(t, ""))
		c.Command = []string{"cat", "/proc/self/status"}
		got := status(outputOf(t, h, f, c))
		for _, set := range []string{"SigBlk", "SigIgn", "SigCgt"} {
			if got[set] != noSignals {
				t.Errorf("%s is %q", set, got[set])
			}
		}
	})
}

func TestOddSignalsOfTheServerEndThere(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("env", "--block-signal=USR1", "--ignore-signal=HUP", "true").Run(); err != nil {
		t.Skip("needs env of GNU coreutils")
	}
	cmd := exec.CommandContext(t.Context(), "env", "--block-signal=USR1,TERM", "--ignore-signal=HUP,PIPE,TSTP",
		exe, "cat", "/proc/self/status")
	cmd.Env = append(os.Environ(), envHelper+"=run")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := status(string(out))
	for _, set := range []string{"SigBlk", "SigIgn"} {
		if got[set] != noSignals {
			t.Errorf("%s is %q", set, got[set])
		}
	}
}

func TestStdinIsTheServers(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, script, want string }{
		{"a file", `exec "$0" cat <"$1"`, "hello\n"},
		{"closed", `exec "$0" readlink /proc/self/fd/0 <&-`, "/dev/null\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := t.TempDir() + "/in"
			if err := os.WriteFile(in, []byte("hello\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", tt.script, exe, in)
			cmd.Env = append(os.Environ(), envHelper+"=run")
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != tt.want {
				t.Errorf("got %q, %v; want %q", out, err, tt.want)
			}
		})
	}
}

func TestWantOfDescriptorsIsToldAndLeaksNothing(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"direct", "shim"} {
		t.Run(path, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), exe, "12", path)
			cmd.Env = append(os.Environ(), envHelper+"=start with few descriptors")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// asRoot skips a test that has to become another user.
func asRoot(t *testing.T) *user.User {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	return u
}

// open makes the way to a test's directory passable for another user.
func open(t *testing.T, dir string) {
	t.Helper()
	for ; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUserAndGroup(t *testing.T) {
	u := asRoot(t)
	group, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	nobody := "uid=" + u.Uid + " gid=" + u.Gid + " groups=" + u.Gid
	tests := []struct {
		name, user, group, want string
	}{
		{"by name", "nobody", "", nobody},
		{"by number", u.Uid, "", nobody},
		{"number without an entry", "54321", "", "uid=54321 gid=54321 groups=54321"},
		{"user and group", "nobody", "daemon", "uid=" + u.Uid + " gid=1 groups=1"},
		{"numbers", "54321", "12345", "uid=54321 gid=12345 groups=12345"},
		{"the server's own user", "root", "", "uid=0 gid=0 groups=0"},
		{"group only", "", group.Name, "uid=0 gid=" + u.Gid},
	}
	paths(t, func(t *testing.T, through func(*spec.Child) *spec.Child) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h, f := newHost(t)
				c := through(shell(t, `echo uid=$(id -u) gid=$(id -g) groups=$(id -G)`))
				open(t, c.Dir)
				c.User, c.Group = tt.user, tt.group
				if got := outputOf(t, h, f, c); !strings.HasPrefix(strings.TrimSpace(got), tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	})
}

func TestUserWhoMayNotIsNamed(t *testing.T) {
	asRoot(t)
	paths(t, func(t *testing.T, through func(*spec.Child) *spec.Child) {
		h, _ := newHost(t)
		c := through(child(t, "true"))
		c.User = "nobody"
		if err := os.Chmod(c.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := h.Start(c, 1)
		if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "as user nobody: ") || !strings.Contains(err.Error(), c.Dir) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUsage(t *testing.T) {
	h, f := newHost(t)
	id := start(t, h, shell(t, `exec 5</dev/null; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; kill -STOP $$`))
	awaitStopped(t, id.PID)
	u, err := h.Usage(id.PID)
	if err != nil {
		t.Fatal(err)
	}
	if u.CPUSeconds <= 0 || u.CPUSeconds > 60 {
		t.Errorf("%v seconds of CPU", u.CPUSeconds)
	}
	if u.ResidentBytes < 100_000 || u.ResidentBytes > 100_000_000 {
		t.Errorf("%d bytes resident", u.ResidentBytes)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", id.PID))
	if err != nil {
		t.Fatal(err)
	}
	if u.OpenFiles != len(files) || u.OpenFiles < 4 {
		t.Errorf("%d open files, want %d", u.OpenFiles, len(files))
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	f.next(t)
	if _, err := h.Usage(id.PID); err == nil {
		t.Error("a dead process uses something")
	}
}
