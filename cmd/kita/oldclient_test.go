package main

import (
	"bytes"
	"strings"
	"testing"

	"kita/control/controltest"
	"kita/spec"
)

func TestOldSuccess(t *testing.T) {
	tests := []struct {
		name   string
		verb   spec.Verb
		answer string
		want   bool
	}{
		{"start", spec.VerbStart, "start web success", true},
		{"start with repeat", spec.VerbStart, "start web success, and it will restart in 5s", true},
		{"start with prehook", spec.VerbStart, "Find pre-hook, has started pre-hook firstly. start web success", true},
		{"start of a live child", spec.VerbStart, "Cannot start this child web, it already exsits", false},
		{"start of another child", spec.VerbStart, "start web2 success", false},
		{"restart", spec.VerbRestart, "restart web success", true},
		{"restart of a dead child", spec.VerbRestart, "web not exsit, cannot stop", false},
		{"stop", spec.VerbStop, "stop web success", true},
		{"trystart of a dead child", spec.VerbTrystart, "Start web success ", true},
		{"trystart of a live child", spec.VerbTrystart, "This child already start, stop it first. Stop web success, start it again. Start web success, and it will restart in 5s ", true},
		{"trystart with posthook", spec.VerbTrystart, "This child already start, stop it first. find post-hook \"start a\", run it after stop. Stop web success, start it again. Start web success ", true},
		{"trystart that stopped and cannot start", spec.VerbTrystart, "This child already start, stop it first. Stop web success, start it again. Cannot start child web", false},
		{"kill", spec.VerbKill, "I am dying. last error: \n", true},
		{"check", spec.VerbCheck, "==Check Results Below==\n", true},
		{"info", spec.VerbInfo, "==Server Info Below==\n=======================\n", true},
		{"an encrypted server that took a packet", spec.VerbStop, "Running on encrypt mode, need to dencrypt your command.\nstop web success", true},
		{"an encrypted server that refused", spec.VerbStop, "Running on encrypt mode, need to dencrypt your command.\nweb not exsit, cannot stop", false},
		{"an encrypted server", spec.VerbInfo, "Running on encrypt mode, need to dencrypt your command.\nCannot parse encrypt data", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := oldSuccess(tt.verb, "web", tt.answer); got != tt.want {
				t.Errorf("%q: %v, want %v", tt.answer, got, tt.want)
			}
		})
	}
}

func TestOldClient(t *testing.T) {
	svc := controltest.New(controltest.Child("web"))
	server, dead := serveFake(t, svc), unused(t)
	tests := []struct {
		name, args string
		status     int
		out, err   string
	}{
		{"start", "Start web on " + server.tcp, exitOK, "Server TCP response:\nstart web success\n", ""},
		{"refused", "start web on " + server.tcp, exitFailed, "Server TCP response:\nCannot start this child web, it already exsits\n", ""},
		{"an unreachable host does not keep the other from it", "stop web on " + dead + "," + server.tcp, exitUnreachable,
			"Server TCP response:\nstop web success\n", "supervisor-rs-client: nothing listens on DEAD, is kita serve running there?\n"},
		{"wrong use", "start", exitUsage, "", "supervisor-rs-client: which child do you want to start? write `start CHILD`\n"},
		{"a key is never ignored", "check with /nowhere/ops.pem on " + server.tcp, exitFailed, "",
			"supervisor-rs-client: cannot read the key /nowhere/ops.pem: no such file or directory\n"},
		{"what only kita can do", "check on ssh://x", exitUsage, "",
			"supervisor-rs-client: ssh://x is asked through its sshd, which this program cannot do: use `kita check on ssh://x`\n"},
		{"help", "help", exitOK, oldClientHelp, ""},
		{"no words", "", exitOK, oldClientHelp, ""},
	}
	replaced := strings.NewReplacer(server.tcp, "TCP", dead, "DEAD")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			status := run(append([]string{"/opt/bin/supervisor-rs-client"}, strings.Fields(tt.args)...), &out, &stderr)
			if status != tt.status || replaced.Replace(out.String()) != tt.out || replaced.Replace(stderr.String()) != tt.err {
				t.Errorf("status %d, want %d\nstdout %q, want %q\nstderr %q, want %q", status, tt.status, out.String(), tt.out, stderr.String(), tt.err)
			}
		})
	}
}

// TestTheOldClientAdvisesWhatItCanDo: it has no flags, and the ssh-agent cannot
// sign its packets.
func TestTheOldClientAdvisesWhatItCanDo(t *testing.T) {
	questions := (&program{}).oldPassphrases()
	questions.terminal = func(string) ([]byte, error) { return nil, errNoTerminal }
	_, err := questions.of("ops.pem")
	if err == nil || !strings.Contains(err.Error(), "use `kita COMMAND --legacy --key-passphrase-file FILE`") || strings.Contains(err.Error(), "agent") {
		t.Errorf("%v", err)
	}
}

func TestOldServerTakesOneFile(t *testing.T) {
	var out, stderr bytes.Buffer
	status := run([]string{"supervisor-rs-server", "a", "b"}, &out, &stderr)
	if want := "supervisor-rs-server: \"b\" is one word too many, the use is `supervisor-rs-server [FILE]`\n"; status != exitUsage || stderr.String() != want {
		t.Errorf("status %d, stderr %q, want %q", status, stderr.String(), want)
	}
}
