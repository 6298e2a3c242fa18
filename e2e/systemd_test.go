package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

// manager is the service manager of a test: it hears what kita says.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	name string
}

// newManager listens at a path, or at an abstract name.
func newManager(t *testing.T, abstract bool) *manager {
	t.Helper()
	dir, err := os.MkdirTemp(world.root, "n")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "notify")
	if abstract {
		name = "@" + name
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, name}
}

// starts is the command line that starts a program as the manager does.
func (m *manager) starts(watchdog time.Duration, args ...string) []string {
	line := []string{"env", "NOTIFY_SOCKET=" + m.name}
	if watchdog > 0 {
		line = append(line, "WATCHDOG_USEC="+strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return append(line, args...)
}

// next is the next message, its lines joined by blanks and without the number of a
// clock.
func (m *manager) next() string {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(patience))
	buffer := make([]byte, 4096)
	n, err := m.conn.Read(buffer)
	if err != nil {
		m.t.Fatalf("kita says nothing: %v", err)
	}
	text := strings.ReplaceAll(string(buffer[:n]), "\n", " ")
	if head, micros, found := strings.Cut(text, " MONOTONIC_USEC="); found {
		if n, err := strconv.ParseUint(micros, 10, 64); err != nil || n == 0 {
			m.t.Errorf("%q has no time", text)
		}
		text = head
	}
	return text
}

// wants wants exactly these messages next, in this order.
func (m *manager) wants(messages ...string) {
	m.t.Helper()
	for _, want := range messages {
		if got := m.next(); got != want {
			m.t.Fatalf("kita says %q, want %q", got, want)
		}
	}
}

// awaits passes over all that comes before a message.
func (m *manager) awaits(want string) (before []string) {
	m.t.Helper()
	for {
		got := m.next()
		if got == want {
			return before
		}
		before = append(before, got)
	}
}

// TestSystemdIsTold goes through the life of a service.
func TestSystemdIsTold(t *testing.T) {
	t.Parallel()
	const children, none = "STATUS=1 of 1 wanted children run", "STATUS=no child is wanted, 1 are known"
	t.Run("keeper", func(t *testing.T) {
		t.Parallel()
		m := newManager(t, false)
		in := newServerAs(t, m.starts(0, "kita", "serve", "server.yml"), "", map[string]string{"web": showEnviron})
		m.wants(none, "READY=1")
		in.do(t, spec.VerbStart, "web")
		m.awaits(children)
		in.checkEnviron(t)
		main := in.cmd.Process.Pid

		in.mustSignal(t, main, syscall.SIGHUP)
		m.wants("RELOADING=1", "READY=1")

		if err := in.killServer(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		m.wants("STATUS=the server ended (killed by signal 9), it is started again", children, "READY=1")

		in.mustUpgrade(t, newVersion(t))
		m.wants("RELOADING=1", children, "READY=1")
		in.do(t, spec.VerbRestart, "web")
		in.checkEnviron(t)

		if status, err := in.signal(syscall.SIGTERM); err != nil || status != 0 {
			t.Errorf("status %d, %v", status, err)
		}
		m.awaits("STOPPING=1")
		m.isSilent()
	})
	t.Run("no keeper", func(t *testing.T) {
		t.Parallel()
		m := newManager(t, true)
		in := newServerAs(t, m.starts(0, "kita", "serve", "--no-keeper", "server.yml"), "", map[string]string{"web": showEnviron})
		m.wants(none, "READY=1")
		in.do(t, spec.VerbStart, "web")
		m.awaits(children)
		in.checkEnviron(t)
		in.mustSignal(t, in.cmd.Process.Pid, syscall.SIGHUP)
		m.wants("RELOADING=1", "READY=1")
		in.mustUpgrade(t, newVersion(t))
		m.wants("RELOADING=1", children, "READY=1")
		in.do(t, spec.VerbRestart, "web")
		in.checkEnviron(t)
		if status, err := in.signal(syscall.SIGTERM); err != nil || status != 0 {
			t.Errorf("status %d, %v", status, err)
		}
		m.awaits("STOPPING=1")
		m.isSilent()
	})
}

// TestSystemdThatHasNoRoomIsToldAgain: one that is too busy at that moment still
// learns that kita is ready.
func TestSystemdThatHasNoRoomIsToldAgain(t *testing.T) {
	t.Parallel()
	for _, how := range [][]string{{"kita", "serve", "server.yml"}, {"kita", "serve", "--no-keeper", "server.yml"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			t.Parallel()
			m := newManager(t, false)
			filled := m.fill()
			in := newServerAs(t, m.starts(0, how...), "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
			eventually(t, "READY=1 is not taken", func() bool { return strings.Contains(in.log(), "what=\"READY=1\"") })
			for range filled {
				m.wants("FILL=1")
			}
			m.awaits("READY=1")
		})
	}
}

// fill leaves no room for a message, and returns how many there are.
func (m *manager) fill() (n int) {
	m.t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.name, Net: "unixgram"})
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	for ; n < 100000; n++ {
		_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := conn.Write([]byte("FILL=1")); err != nil {
			return n
		}
	}
	m.t.Fatal("there is room for everything")
	return n
}

// isSilent wants nothing more to be said by a program that has ended.
func (m *manager) isSilent() {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	buffer := make([]byte, 4096)
	if n, err := m.conn.Read(buffer); err == nil {
		m.t.Errorf("kita goes on to say %q", buffer[:n])
	}
}

// showEnviron is a child that writes down what it has got.
const showEnviron = "command: [sh, -c, 'env > environ.new; ls -l /proc/$$/fd > fds; mv environ.new environ; exec sleep 1000']\ndir: ..\n"

// checkEnviron looks for what was meant for kita alone.
func (in *instance) checkEnviron(t *testing.T) {
	t.Helper()
	if err := in.awaitFile("environ"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(in.path("environ"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "KITA_CHILD=web\n") {
		t.Errorf("this is no environment of a child:\n%s", text)
	}
	for line := range strings.Lines(string(text)) {
		for _, ours := range []string{"NOTIFY_", "WATCHDOG_", "LISTEN_", "KITA_KEEPER", "KITA_HANDOVER"} {
			if strings.HasPrefix(line, ours) {
				t.Errorf("the child has %s", line)
			}
		}
	}
	fds, err := os.ReadFile(in.path("fds"))
	if err != nil || strings.Contains(string(fds), "socket:") {
		t.Errorf("%v, the child has a socket:\n%s", err, fds)
	}
	if err := os.Remove(in.path("environ")); err != nil {
		t.Fatal(err)
	}
}

func (in *instance) mustSignal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// TestAServerThatHangsIsRestartedByItsKeeper: systemd sees a service that is alive
// all the time, and the children stay.
func TestAServerThatHangsIsRestartedByItsKeeper(t *testing.T) {
	t.Parallel()
	m := newManager(t, false)
	in := newServerAs(t, m.starts(3*time.Second, "kita", "serve", "server.yml"), "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
	before := in.mustAwait(t, "web", isLive)
	m.awaits("READY=1")
	m.awaits("WATCHDOG=1")
	hangs := in.server()
	in.mustSignal(t, hangs, syscall.SIGSTOP)
	said := m.awaits("STATUS=the server ended (killed by signal 9), it is started again")
	signs := 0
	for _, message := range said {
		if message == "WATCHDOG=1" {
			signs++
		}
	}
	// It was given time, and systemd was kept from ending all of kita meanwhile.
	if signs < 2 {
		t.Errorf("systemd is told only %q", said)
	}
	m.awaits("READY=1")
	if err := in.awaitServer(hangs); err != nil {
		t.Fatal(err)
	}
	after := in.mustAwait(t, "web", isLive)
	if pidOfView(after) != pidOfView(before) || !after.Status.Process.Adopted {
		t.Errorf("web was PID %d, is %+v", pidOfView(before), after.Status.Process)
	}
	if !strings.Contains(in.log(), "the server hangs, it is told to write down where it stands") {
		t.Error("the log does not tell of it")
	}
}

// TestSystemdWaitsForTheChildren: while they are being stopped systemd is asked for
// more time.
func TestSystemdWaitsForTheChildren(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"keeper", "--no-keeper"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m := newManager(t, false)
			line := []string{"kita", "serve", "server.yml"}
			if how == "--no-keeper" {
				line = append(line, how)
			}
			in := newServerAs(t, m.starts(0, line...), "mode: full\non_exit: stop\n", map[string]string{
				"slow": "command: [sh, -c, \"trap 'while [ ! -e go ]; do sleep 0.05; done; exit 0' TERM; echo > up; sleep 1000 & wait\"]\ndir: ..\nstop: {grace: 60s}\n",
			})
			if err := in.awaitFile("up"); err != nil {
				t.Fatal(err)
			}
			m.awaits("READY=1")
			in.mustSignal(t, in.cmd.Process.Pid, syscall.SIGTERM)
			m.awaits("STOPPING=1")
			m.awaits("EXTEND_TIMEOUT_USEC=30000000")
			if err := os.WriteFile(in.path("go"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if status, err := in.waitEnd(); err != nil || status != 0 {
				t.Errorf("status %d, %v", status, err)
			}
		})
	}
}

// launcher makes sockets and starts a program with them, as systemd does. Its
// arguments are NAME=unix:PATH or NAME=tcp:HOST:PORT, --, and the program.
const launcher = `
import os, socket, sys
at = sys.argv.index("--")
names, made = [], []
for word in sys.argv[1:at]:
    name, _, rest = word.partition("=")
    kind, _, where = rest.partition(":")
    if kind.startswith("unix"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "unixgram" else socket.SOCK_STREAM)
        if os.path.exists(where):
            os.remove(where)
        s.bind(where)
        os.chmod(where, 0o600)
    else:
        host, _, port = where.rpartition(":")
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, int(port)))
    if kind != "unixgram":
        s.listen(100)
    names.append(name)
    made.append(s)
high = [os.dup(s.fileno()) for s in made] and [__import__("fcntl").fcntl(s.fileno(), 0, 200) for s in made]
os.closerange(3, 200)
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.closerange(3 + len(high), 300)
os.environ["LISTEN_FDS"] = str(len(high))
os.environ["LISTEN_FDNAMES"] = ":".join(names)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[at + 1], sys.argv[at + 1:])
`

// launches is the command line that starts kita with sockets.
func launches(sockets ...string) []string {
	line := append([]string{"python3", "-c", launcher}, sockets...)
	return append(line, "--", "kita", "serve", "server.yml")
}

// TestSocketActivation: kita serves the sockets that systemd listens on, over a
// crash and an upgrade, and leaves them.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	for _, keeper := range []bool{true, false} {
		t.Run(fmt.Sprintf("keeper=%v", keeper), func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp(world.root, "t")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
				t.Fatal(err)
			}
			socket := filepath.Join(dir, "run/kita.sock")
			address := fmt.Sprintf("127.%d.%d.77", 200+os.Getpid()%50, os.Getpid()/50%250)
			if keeper {
				address = strings.TrimSuffix(address, "7") + "8"
			}
			args := launches("kita.socket=unix:"+socket, "kita.socket=tcp:"+address+":4500", "metrics=tcp:"+address+":4501")
			if !keeper {
				args = append(args, "--no-keeper")
			}
			// The address of server.yml is one that cannot be had.
			in := newServerIn(t, dir, args, "mode: full\nlistener_addr: 192.0.2.1\n", map[string]string{"web": showEnviron})
			web := pidOfView(in.mustAwait(t, "web", isLive))
			in.checkEnviron(t)
			check := func(when string) {
				t.Helper()
				want := []string{"unix:" + socket, "tcp:" + address + ":4500", "metrics:" + address + ":4501"}
				info := in.info(t)
				if strings.Join(info.Activated, " ") != strings.Join(want, " ") || strings.Join(info.Listeners, " ") != strings.Join(want, " ") {
					t.Errorf("%s: listeners %q, of systemd %q, want %q", when, info.Listeners, info.Activated, want)
				}
				for _, problem := range info.Problems {
					if strings.Contains(problem, "server.yml says") {
						t.Errorf("%s: %s", when, problem)
					}
				}
				out, _ := in.run(t, 0, "kita", "info")
				if !strings.Contains(out, "by systemd:") || !strings.Contains(out, address+":4500") {
					t.Errorf("%s: info says\n%s", when, out)
				}
				if out, _ := in.run(t, 0, "kita", "info", "-o", "json"); !strings.Contains(out, `"activated"`) {
					t.Errorf("%s: info says\n%s", when, out)
				}
				if _, found, err := request("unix", socket, "localhost", "GET", "/v1/sd", "", nil); err != nil || !strings.Contains(found, `["localhost:4501"]`) {
					t.Errorf("%s: Prometheus is sent to\n%s, %v", when, found, err)
				}
				for _, at := range []string{address + ":4500", address + ":4501"} {
					if out := in.tool(t, "python3", "-c", "import sys,urllib.request as u; print(u.urlopen('http://'+sys.argv[1]+'/metrics').status)", at); out != "200\n" {
						t.Errorf("%s: %s answers %q", when, at, out)
					}
				}
			}
			check("at first")
			if keeper {
				if err := in.killServer(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				check("after a crash")
			}
			in.mustUpgrade(t, newVersion(t))
			check("after an upgrade")
			if keeper {
				if err := in.killServer(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				check("after a crash of the new version")
			}
			if pid := pidOfView(in.mustAwait(t, "web", isLive)); pid != web {
				t.Errorf("web was PID %d, is %d", web, pid)
			}
			in.do(t, spec.VerbRestart, "web")
			in.checkEnviron(t)
			if status, err := in.signal(syscall.SIGTERM); err != nil || status != 0 {
				t.Errorf("status %d, %v", status, err)
			}
			if _, err := os.Lstat(socket); err != nil {
				t.Errorf("systemd's socket: %v", err)
			}
		})
	}
}

// TestAVersionThatKnowsNothingOfSystemdIsRefused: it would not be ready for systemd,
// nor alive, nor serve its sockets, for ever.
func TestAVersionThatKnowsNothingOfSystemdIsRefused(t *testing.T) {
	t.Parallel()
	// As such a version says it, which is otherwise as good as this one.
	before := filepath.Join(t.TempDir(), "before")
	script := "#!/bin/sh\ncase \"$*\" in *--systemd*) echo kita: unknown flag: --systemd >&2; exit 2 ;; esac\nexec " + world.bin + "/kita \"$@\"\n"
	if err := os.WriteFile(before, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	serve := []string{"env", "kita", "serve", "server.yml"}
	for name, tt := range map[string]struct {
		line    func(t *testing.T) []string
		refused bool
	}{
		"no systemd": {func(*testing.T) []string { return serve }, false},
		"told":       {func(t *testing.T) []string { return newManager(t, false).starts(0, serve...) }, true},
		"watched":    {func(t *testing.T) []string { return newManager(t, false).starts(time.Hour, serve...) }, true},
		"no keeper": {func(t *testing.T) []string {
			return newManager(t, false).starts(0, "kita", "serve", "--no-keeper", "server.yml")
		}, true},
		"sockets": {func(*testing.T) []string { return launches("metrics=tcp:127.0.0.1:0") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newServerAs(t, tt.line(t), "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
			web := pidOfView(in.mustAwait(t, "web", isLive))
			server := in.info(t)
			_, err := in.upgrade(before)
			var refusal *spec.Refusal
			switch {
			case !tt.refused && err != nil:
				t.Errorf("refused: %v", err)
			case tt.refused && (!errors.As(err, &refusal) || refusal.Code != spec.BadBinary || !strings.Contains(refusal.Message, "knows nothing of systemd") ||
				!strings.Contains(refusal.Message, "systemctl restart kita")):
				t.Errorf("got %v", err)
			}
			if now := in.info(t); tt.refused && !now.StartedAt.Equal(server.StartedAt) {
				t.Errorf("the server is another: %+v", now)
			}
			// And again this one, which knows of it.
			in.mustUpgrade(t, newVersion(t))
			if pid := pidOfView(in.mustAwait(t, "web", isLive)); pid != web {
				t.Errorf("web was PID %d, is %d", web, pid)
			}
		})
	}
}

func TestSocketsThatCannotBeServedAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for socket, want := range map[string]string{
		"kita.socket=unixgram:" + dir + "/s": `kita: socket activation: descriptor 3, "kita.socket": it is no stream socket, write ListenStream=`,
		"web=unix:" + dir + "/s":             `kita: socket activation: descriptor 3, "web": the name is unknown, give FileDescriptorName= unix, listen or metrics, or none`,
	} {
		cmd := launches(socket)
		in := newInstance(t.TempDir())
		out, err := in.command(cmd...).CombinedOutput()
		if err == nil || string(out) != want+"\n" {
			t.Errorf("%s: %v, it says\n%s", socket, err, out)
		}
	}
}

// TestUnitsAreValid has systemd read the units, with the kita of this test in the
// place of the installed one.
func TestUnitsAreValid(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
	units, err := filepath.Glob(filepath.Join(world.module, "examples", "kita*.s*"))
	if err != nil || len(units) != 3 {
		t.Fatalf("units %q, %v", units, err)
	}
	verify := func(line string, args ...string) (string, error) {
		dir := t.TempDir()
		files := append([]string{"verify", "--man=no"}, args...)
		for _, unit := range units {
			name := filepath.Base(unit)
			if (name == "kita-user.service") != (len(args) > 0) {
				continue
			}
			text, err := os.ReadFile(unit)
			if err != nil {
				t.Fatal(err)
			}
			edited := strings.Replace(string(text), "ExecStart=/usr/local/bin/kita ", line+"\nExecStart="+filepath.Join(world.bin, "kita")+" ", 1)
			file := filepath.Join(dir, strings.Replace(name, "-user", "", 1))
			if err := os.WriteFile(file, []byte(edited), 0o644); err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		cmd := exec.Command("systemd-analyze", files...)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, scope := range [][]string{nil, {"--user"}} {
		if out, err := verify("", scope...); err != nil || out != "" {
			t.Errorf("systemd-analyze verify %s: %v\n%s", strings.Join(scope, " "), err, out)
		}
		// That it can say no.
		if out, err := verify("Restrat=always", scope...); !strings.Contains(out, "Restrat") {
			t.Errorf("a misspelt key passes: %v\n%s", err, out)
		}
	}
}
