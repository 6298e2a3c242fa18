package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"kita/control"
	"kita/control/controltest"
)

// overSSH carries out a line as a server does. The only server it reaches is
// the one at socket.
func overSSH(ctx context.Context, socket, line string) (status int, out, stderr string) {
	var o, e, log bytes.Buffer
	status = execLine(ctx, control.Exec{
		Line: line, By: "ssh:ops@127.0.0.1", Stdout: &o, Stderr: &e,
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}, slog.New(slog.NewTextHandler(&log, nil)))
	if log.Len() > 0 {
		stderr = "log: " + log.String()
	}
	return status, o.String(), stderr + e.String()
}

func newService() *controltest.Service {
	svc := controltest.New(controltest.Child("web"), controltest.Child("db"))
	svc.SetRunning("web", 100)
	return svc
}

// TestALineOverSSHIsAnsweredAsByKita sends each line both ways, each time to a
// server in the same state.
func TestALineOverSSHIsAnsweredAsByKita(t *testing.T) {
	for _, line := range []string{
		"check -o json", "check web -o yaml", "Check db -o json", "check nope",
		"start web", "start db", "TryStart web", "restart web --no-wait", "stop web", "Stop all", "stop db",
		"kill", "info -o json", "help nothing-like-it", "version", "nonsense", "start", "check web extra",
		"check -o xml", "check --timeout 0s", "check --nope", "start nope --timeout 5s",
		"-o json check", "--no-wait=true -o yaml Start db", "--timeout 5s stop web", "-o check check",
	} {
		t.Run(line, func(t *testing.T) {
			wantStatus, wantOut, wantErr := kita(serveFake(t, newService()).socket, strings.Fields(line)...)
			status, out, stderr := overSSH(t.Context(), serveFake(t, newService()).socket, line)
			if status != wantStatus || out != wantOut || stderr != wantErr {
				t.Errorf("status %d, want %d\nstdout %q, want %q\nstderr %q, want %q", status, wantStatus, out, wantOut, stderr, wantErr)
			}
		})
	}
}

func TestHelpOverSSHHasWhatCanBeAskedThere(t *testing.T) {
	for _, line := range []string{"help", "-h", "--help", "kita Help", "-h start", "-h x __complete check ''", "kita --help __completeNoDesc x ''"} {
		status, out, stderr := overSSH(t.Context(), "", line)
		if status != exitOK || !strings.Contains(out, "trystart") || strings.Contains(out, "serve ") || strings.Contains(strings.ToLower(out), "completion") || stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", line, status, out, stderr)
		}
	}
	if _, out, _ := overSSH(t.Context(), "", "help start"); !strings.Contains(out, "kita start CHILD|all [flags]") || strings.Contains(out, "--on") {
		t.Errorf("help start: %q", out)
	}
}

func TestALineOverSSHReachesOnlyItsOwnServer(t *testing.T) {
	other := serveFake(t, newService())
	for line, want := range map[string]string{
		"stop web on " + other.tcp:           "kita: over SSH only this server is asked, leave out `on` and `with`: use stop web\n",
		"check with /etc/ssl/private/ops":    "kita: over SSH only this server is asked, leave out `on` and `with`: use check\n",
		"stop web --on " + other.tcp:         "kita: unknown flag: --on, see `kita stop --help`\n",
		"stop web --with x":                  "kita: unknown flag: --with, see `kita stop --help`\n",
		"stop web --socket " + other.socket:  "kita: unknown flag: --socket, see `kita stop --help`\n",
		"stop web --legacy":                  "kita: unknown flag: --legacy, see `kita stop --help`\n",
		"stop web --hosts-file /etc/passwd":  "kita: unknown flag: --hosts-file, see `kita stop --help`\n",
		"info --key-passphrase-file /etc/x":  "kita: unknown flag: --key-passphrase-file, see `kita info --help`\n",
		"upgrade --binary /bin/sh":           "kita: unknown flag: --binary, see `kita upgrade --help`\n",
		"serve /etc/kita/server.yml":         "kita: \"serve\" is no command, see `kita help`\n",
		"validate /etc/shadow":               "kita: \"validate\" is no command, see `kita help`\n",
		"upgrade-check":                      "kita: \"upgrade-check\" is no command, see `kita help`\n",
		"completion bash":                    "kita: \"completion\" is no command, see `kita help`\n",
		"__complete stop ''":                 "kita: \"__complete\" is no command, see `kita help`\n",
		"__completeNoDesc stop ''":           "kita: \"__completeNoDesc\" is no command, see `kita help`\n",
		"-o __complete __complete stop ''":   "kita: \"-o\" is no command, see `kita help`\n",
		"-o json __complete stop ''":         "kita: \"-o\" is no command, see `kita help`\n",
		"kita kita check":                    "kita: \"kita\" is no command, did you mean kill?\n",
		"":                                   "kita: which command? see `kita help`\n",
		"kita":                               "kita: which command? see `kita help`\n",
		"check; kill":                        "kita: ';' has a meaning only a shell knows, and this is none: put it in quotes\n",
		"check\nkill":                        "kita: a line break ends a command, give one at a time\n",
		"stop \"web":                         "kita: the quote \" is not closed, close it or write \\\"\n",
		"start \x1b[2Jx on y":                "kita: over SSH only this server is asked, leave out `on` and `with`: use start \\x1b[2Jx\n",
		"stop web --help=maybe":              "",
		"sftp-server":                        "kita: \"sftp-server\" is no command, see `kita help`\n",
		strings.Repeat("stops", 10_000):      "kita: \"" + strings.Repeat("stops", 20) + "\" is no command, see `kita help`\n",
		"scp -t /tmp":                        "kita: \"scp\" is no command, did you mean stop?\n",
		"start web --no-wait --serial":       "kita: unknown flag: --serial, see `kita start --help`\n",
		"check web --parallel 5":             "kita: unknown flag: --parallel, see `kita check --help`\n",
		"check --host-key-checking accept":   "kita: unknown flag: --host-key-checking, see `kita check --help`\n",
		"restart web --max-unavailable 1":    "kita: unknown flag: --max-unavailable, see `kita restart --help`\n",
		"check web --nope-with-an-argument=": "kita: unknown flag: --nope-with-an-argument, see `kita check --help`\n",
	} {
		svc := newService()
		status, out, stderr := overSSH(t.Context(), serveFake(t, svc).socket, line)
		if status != exitUsage || out != "" || want != "" && stderr != want {
			t.Errorf("%q: status %d, want %d, stdout %q, stderr %q, want %q", line, status, exitUsage, out, stderr, want)
		}
	}
}

func TestALineOverSSHEndsWithItsClient(t *testing.T) {
	svc := newService()
	release := make(chan struct{})
	defer close(release)
	svc.DoFunc = blockUntil(release)
	server := serveFake(t, svc)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status, _, _ := overSSH(ctx, server.socket, "restart web"); status == exitOK {
		t.Error("a command that was given up succeeded")
	}
}

func TestAPanicOfALineOverSSHIsContained(t *testing.T) {
	var stderr, log bytes.Buffer
	status := execLine(t.Context(), control.Exec{
		Line: "version", Stdout: panics{}, Stderr: &stderr,
	}, slog.New(slog.NewTextHandler(&log, nil)))
	if status != exitFailed || !strings.Contains(stderr.String(), "an error of its own") || !strings.Contains(log.String(), "panicked") {
		t.Errorf("status %d, stderr %q, log %q", status, stderr.String(), log.String())
	}
}

// TestLinesOverSSHRunSideBySide, and leave nothing behind: a server carries out
// any number of them.
func TestLinesOverSSHRunSideBySide(t *testing.T) {
	server := serveFake(t, newService())
	several := func(n int) {
		var running sync.WaitGroup
		for range n {
			for _, line := range []string{"check web -o json", "help upgrade", "start --nope", "info"} {
				running.Go(func() { overSSH(t.Context(), server.socket, line) })
			}
		}
		running.Wait()
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	several(8)
	before := heap()
	for range 50 {
		several(4)
	}
	const most = 2 << 20
	if after := heap(); after > before+most {
		t.Errorf("800 lines left %d bytes", after-before)
	}
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("broken") }

// FuzzExecLine: whatever the line, the status is one of kita's and nothing
// panics.
func FuzzExecLine(f *testing.F) {
	for _, seed := range []string{
		"check", "kita check -o json", "trystart web", `start "a b"`, "-h", "help start", "kill", "__complete x ''", "stop all on a,b with k",
		"check --timeout=1ns -owide", "version --help", "\x00\xff", "a;b", strings.Repeat("-o ", 1000),
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, line string) {
		var out, stderr, log bytes.Buffer
		status := execLine(t.Context(), control.Exec{
			Line: line, Stdout: &out, Stderr: &stderr,
			Dial: func(ctx context.Context) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", dir+"/none.sock")
			},
		}, slog.New(slog.NewTextHandler(&log, nil)))
		switch status {
		case exitOK, exitFailed, exitUsage, exitNotRunning, exitUnreachable:
		default:
			t.Errorf("%q: status %d", line, status)
		}
		if log.Len() > 0 {
			t.Errorf("%q: %s", line, &log)
		}
		if status != exitOK && stderr.Len() == 0 {
			t.Errorf("%q: status %d and not a word", line, status)
		}
	})
}
