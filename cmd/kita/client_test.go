package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kita/control"
	"kita/control/controltest"
	"kita/spec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	enter()
	// Times are shown in the local zone; the golden files have this one.
	time.Local = time.UTC
	// What the user who runs the tests has configured is none of theirs.
	home, err := os.MkdirTemp("", "kita-home")
	if err != nil {
		panic(err)
	}
	os.Setenv("HOME", home)
	os.Unsetenv("XDG_CONFIG_HOME")
	status := m.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.RemoveAll(home)
	os.Exit(status)
}

// golden compares got with testdata/name.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs, run the test with -update if that is meant\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// fixture is a server of svc on a unix socket and a TCP port.
type fixture struct{ socket, tcp string }

func serveFake(t *testing.T, svc *controltest.Service) fixture {
	t.Helper()
	// Shorter than t.TempDir: a socket's path has a limit.
	dir, err := os.MkdirTemp("", "kita")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := control.NewServer(control.Options{Service: svc})
	var serving sync.WaitGroup
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		serving.Wait()
	})
	unix, err := control.ListenUnix(filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving.Go(func() { _ = s.ServeUnix(context.Background(), unix) })
	serving.Go(func() { _ = s.ServeTCP(context.Background(), tcp) })
	return fixture{unix.Addr().String(), tcp.Addr().String()}
}

// unused is an address on which nothing listens.
func unused(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// kita runs the program with a clock that stands still.
func kita(socket string, args ...string) (status int, out, stderr string) {
	return kitaAs(1000, socket, args...)
}

// kitaAs is kita as that user's process.
func kitaAs(uid int, socket string, args ...string) (status int, out, stderr string) {
	var o, e bytes.Buffer
	p := &program{
		name: "kita", out: &o, err: &e, uid: uid,
		now:           func() time.Time { return controltest.Started.Add(3*time.Hour + 5*time.Minute) },
		defaultSocket: func() (string, bool) { return socket, true },
	}
	root := p.rootCommand(args)
	root.SetArgs(append([]string{}, args...))
	return p.finish(root.Execute()), o.String(), e.String()
}

func TestExitStatus(t *testing.T) {
	svc := controltest.New(controltest.Child("web"), controltest.Child("db"))
	svc.SetRunning("web", 100)
	server := serveFake(t, svc)
	dead := unused(t)
	key := filepath.Join(t.TempDir(), "ops.pem")
	if err := os.WriteFile(key, []byte("key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		args   string
		status int
		out    string // a part of stdout
		err    string // a part of stderr
	}{
		{"check", "check", exitOK, "NAME", ""},
		{"check a live child", "check web", exitOK, "100 (incarnation 1)", ""},
		{"check a dead child", "check db", exitNotRunning, "stopped", ""},
		{"check a child without a file", "check nope", exitFailed, "", "nope"},
		{"words in the old spellings", "Check On " + server.tcp, exitOK, "NAME", ""},
		{"start of a live child", "start web", exitFailed, "", "kita: start web: it runs already\n"},
		{"trystart", "TryStart web", exitOK, "web restarted, PID 10", ""},
		{"no wait", "restart web --no-wait", exitOK, "web: restart is written, generation 2", ""},
		{"stop", "stop web", exitOK, "web stopped\n", ""},
		{"stop all", "Stop all", exitOK, "all children stopped\n", ""},
		{"unreachable", "check on " + dead, exitUnreachable, "", "nothing listens on " + dead},
		{"unreachable by flag", "check --on " + dead, exitUnreachable, "", "nothing listens on " + dead},
		{"no socket", "check --socket /nowhere/kita.sock", exitUnreachable, "", "no server answers on /nowhere/kita.sock"},
		{"one of two unreachable", "info on " + dead + "," + server.tcp, exitUnreachable, server.tcp + ": pid", dead + ": nothing listens"},
		{"unknown command", "chekc", exitUsage, "", "kita: \"chekc\" is no command, did you mean check?\n"},
		{"a short word that is another", "foo", exitUsage, "", "kita: \"foo\" is no command, see `kita help`\n"},
		{"a preposition", "on w1", exitUsage, "", "kita: \"on\" is no command, see `kita help`\n"},
		{"a short word, mistyped", "tpo", exitUsage, "", "did you mean top?"},
		{"the beginning of a word", "st", exitUsage, "", "did you mean start or stop?"},
		{"no command", "", exitUsage, "", "which command?"},
		{"unknown flag", "check --nope", exitUsage, "", "kita: unknown flag: --nope"},
		{"no child", "start", exitUsage, "", "which child do you want to start?"},
		{"odd words", "check web by night", exitUsage, "", `"by" is one word too many`},
		{"bad host", "check on a!", exitUsage, "", `host "a!"`},
		{"bad format", "check -o xml", exitUsage, "", "give json, yaml or wide"},
		{"bad timeout", "check --timeout 0s", exitUsage, "", "--timeout 0s"},
		{"a timeout without a unit", "check --timeout 5", exitUsage, "", `invalid argument "5" for "--timeout" flag: give a length of time with its unit, as in 30s or 2m`},
		{"a number of hosts that is none", "check --parallel x", exitUsage, "", `"--parallel" flag: give a whole number`},
		{"a socket that is not there", "check --socket run/nope.sock", exitUnreachable, "", "kita: no server answers on run/nope.sock, is kita serve running?"},
		{"socket and host", "check --socket x --on y", exitUsage, "", "cannot be combined"},
		{"two keys", "check with a --with b", exitUsage, "", "one command uses one key"},
		{"a key that is none", "check with " + key, exitFailed, "", "kita: the key " + key + " is no private key"},
		{"a key that is not there", "check with /nowhere/ops.pem", exitFailed, "", "kita: cannot read the key /nowhere/ops.pem: no such file"},
		{"a key and the socket", "check --socket x with " + key, exitUsage, "", "--socket needs no key"},
		{"an empty key", "check --with=", exitUsage, "", "--with: no key is given"},
		{"an empty flag", "check --host-key-checking=", exitUsage, "", "--host-key-checking: it is given and empty"},
		{"an empty file of passphrases", "check --key-passphrase-file=", exitUsage, "", "--key-passphrase-file: it is given and empty"},
		{"an empty hosts.yml", "check --hosts-file= on " + server.tcp, exitUsage, "", "--hosts-file: it is given and empty"},
		{"an empty socket", "check --socket=", exitUsage, "", "--socket: it is given and empty"},
		{"strict about no key", "check --host-key-checking strict on " + server.tcp, exitUsage, "", "nobody is asked with a key"},
		{"a passphrase of no key", "check --key-passphrase-file x", exitUsage, "", "--key-passphrase-file: no key is used"},
		{"strict about a server without a key", "check --legacy --host-key-checking strict on " + server.tcp, exitUsage, "", "in which a server has no key"},
		{"bad host key checking", "check --host-key-checking no", exitUsage, "", "give strict or accept-new"},
		{"legacy with a format", "check --legacy -o json on " + server.tcp, exitUsage, "", "leave out -o json"},
		{"no answer of one host, as JSON", "check nope -o json", exitFailed, `"code": "not-found"`, "nope"},
		{"no answer of one host, as YAML", "stop nope -o yaml", exitFailed, "code: not-running", "nope"},
		{"no answer of several, as JSON", "check nope -o json on " + server.tcp + "," + dead, exitUnreachable, `"code": "not-found"`, "nope"},
		{"no answer of one host, waited for", "start nope --wait running -o json", exitConfig, `"code": "not-found"`, "nope"},
		{"no answer of one host, to diff", "diff nope -o json", exitConfig, `"code": "not-found"`, "nope"},
		{"legacy without a wait", "stop web --legacy --no-wait on " + server.tcp, exitUsage, "", "--no-wait cannot be said"},
		{"legacy over the socket", "check --legacy --socket x", exitUsage, "", "leave out --socket"},
		{"legacy over ssh", "check --legacy on ssh://x", exitUsage, "", "leave out --legacy"},
		{"legacy, rolling", "stop web --legacy --serial on " + server.tcp, exitUsage, "", "does not say enough"},
		{"legacy upgrade", "upgrade --legacy", exitUsage, "", "unknown flag: --legacy"},
		{"kill of a child", "kill web", exitUsage, "", "did you mean `stop web`?"},
		{"kill", "kill", exitOK, "the server stops all its children", ""},
		{"help", "help", exitOK, "Exit status", ""},
		{"help in an old spelling", "Help stop", exitOK, "Stop a child, or all", ""},
		{"help of nothing", "help nope", exitUsage, "", `"nope" is no command`},
		{"version", "version", exitOK, "kita dev", ""},
		{"completion of no shell", "completion sh", exitUsage, "", `"sh" is no shell`},
		{"validate of a host", "validate on web1", exitUsage, "", `"on": validate looks at files of this host and asks no server`},
		{"serve with two files", "serve a b", exitUsage, "", `"b" is one word too many`},
		{"serve with a bad level", "serve --log-level loud", exitUsage, "", "--log-level loud"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, out, stderr := kita(server.socket, strings.Fields(tt.args)...)
			if status != tt.status || !strings.Contains(out, tt.out) || !strings.Contains(stderr, tt.err) {
				t.Errorf("status %d, want %d\nstdout, want %q:\n%s\nstderr, want %q:\n%s", status, tt.status, tt.out, out, tt.err, stderr)
			}
			if tt.err == "" && stderr != "" || tt.out == "" && out != "" {
				t.Errorf("more was said than expected: stdout %q, stderr %q", out, stderr)
			}
			if status == exitUsage && strings.Count(stderr, "\n") != 1 {
				t.Errorf("wrong use is one line, got %q", stderr)
			}
		})
	}
	if len(svc.Kills()) != 1 {
		t.Errorf("killed %d times, want once", len(svc.Kills()))
	}
}

func TestHostsAreAnsweredForInTheOrderGiven(t *testing.T) {
	a, b := serveFake(t, controltest.New(controltest.Child("web"))), serveFake(t, controltest.New())
	dead := unused(t)
	status, out, stderr := kita("", "start", "web", "on", b.tcp+","+dead+","+a.tcp)
	replaced := strings.NewReplacer(a.tcp, "A", b.tcp, "B", dead, "DEAD")
	if status != exitUnreachable {
		t.Errorf("status %d, want %d", status, exitUnreachable)
	}
	if got, want := replaced.Replace(out), "A: web started, PID 101\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	want := "kita: B: start web: no file of that name in the load paths\nkita: DEAD: nothing listens on DEAD, is kita serve running there?\n" +
		"kita: 2 of 3 hosts failed: B (not found), DEAD (unreachable)\n"
	if got := replaced.Replace(stderr); got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
	for _, f := range []string{"json", "yaml"} {
		_, out, _ := kita("", "stop", "web", "-o", f, "--on", dead, "--on", a.tcp, "on", b.tcp)
		golden(t, "hosts-"+f, replaced.Replace(out))
	}
}

func TestWorstStatus(t *testing.T) {
	for i, low := range severity {
		for _, high := range severity[i:] {
			if worst(low, high) != high || worst(high, low) != high {
				t.Errorf("of %d and %d the worst is %d", low, high, high)
			}
		}
	}
}

// Of the failures of several children the server says the worst, as clients do of
// several hosts.
func TestTheWorstCodeHasTheWorstStatus(t *testing.T) {
	for a, first := range classes {
		for b, second := range classes {
			if unlike := first == exitNotRunning || second == exitNotRunning || first == exitUnreachable || second == exitUnreachable; unlike {
				// No child has them that a command for all has failed for.
				continue
			}
			if got, want := classes[spec.Worse(a, b)], worst(first, second); got != want {
				t.Errorf("of %s and %s the worse has status %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestATimeoutOfACommandIsNotUnreachable(t *testing.T) {
	svc := controltest.New(controltest.Child("web"))
	release := make(chan struct{})
	defer close(release)
	svc.DoFunc = blockUntil(release)
	server := serveFake(t, svc)
	status, _, stderr := kita(server.socket, "start", "web", "--timeout", "50ms")
	if status != exitFailed || !strings.Contains(stderr, "no answer within 50ms") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

func TestProblemsOfTheServerAreWarnings(t *testing.T) {
	svc := controltest.New()
	svc.InfoValue = spec.Info{Problems: []string{"/srv/x: no such directory\x1b[2J"}}
	status, out, stderr := kita(serveFake(t, svc).socket, "check")
	if status != exitOK || out != "no children\n" || stderr != "kita: warning: /srv/x: no such directory\\x1b[2J\n" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
}

func TestCompletionOffersTheChildren(t *testing.T) {
	server := serveFake(t, controltest.New(controltest.Child("web"), controltest.Child("db")))
	const all, place = "db\tstopped\nweb\tstopped\nall\tevery child\n:4\n", "on\thosts to ask\nwith\tprivate key file\n:4\n"
	for line, want := range map[string]string{
		"stop ":              all,
		"logs ":              all,
		"logs web ":          "db\tstopped\n" + place,
		"logs all ":          place,
		"logs web --stream ": "out\nerr\n:4\n",
		"logs web -n ":       ":4\n",
		"logs web -o ":       "json\n:4\n",
		"check -o ":          "json\nyaml\nwide\n:4\n",
		"rotate ":            all,
		"rotate web ":        place,
	} {
		_, out, _ := kita(server.socket, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if out != want {
			t.Errorf("%s: got %q, want %q", line, out, want)
		}
	}
}

// A host that accepts and says nothing may not even be a kita.
func TestAServerThatIsSilentIsUnreachable(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	tests := []struct{ args, want string }{
		{"stop web", "did not answer in time; whether it has taken `stop web` is not known"},
		{"trystart web --wait running", "did not answer in time; whether it has taken `trystart web` is not known"},
		{"wait web --for running", "did not answer in time"},
		{"check web", "did not answer in time"},
		{"check --watch", "did not answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			status, _, stderr := kita("", append(strings.Fields(tt.args), "--timeout", "50ms", "on", dead.Addr().String())...)
			if status != exitUnreachable || !strings.Contains(stderr, tt.want) {
				t.Errorf("status %d, stderr %q", status, stderr)
			}
		})
	}
}
