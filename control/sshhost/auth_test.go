package sshhost

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestNoWayToLogIn: package ssh makes no server that offers nothing.
func TestNoWayToLogIn(t *testing.T) {
	a := &authenticator{settings: settings{host: "web", port: 22, user: "ops"}, keys: &keys{}}
	_, err := a.next(&ssh.ClientAuthContext{})
	if err == nil || !strings.Contains(err.Error(), "web:22 does not let ops in: its sshd offers no way to log in") {
		t.Errorf("%v", err)
	}
}

// TestAnAgentThatHangs: it costs neither the time that the other keys need nor
// the blame.
func TestAnAgentThatHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	k := &keys{}
	defer k.close()
	if held := k.fromAgent(ctx, socket); held != nil || ctx.Err() != nil {
		t.Errorf("%v, %v", held, ctx.Err())
	}
	if want := "the ssh-agent on " + socket + " does not list its keys: no answer in time"; len(k.notes) != 1 || k.notes[0] != want {
		t.Errorf("%q, want %q", k.notes, want)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	begun := time.Now()
	k = &keys{}
	defer k.close()
	if held := k.fromAgent(cancelled, socket); held != nil || time.Since(begun) >= agentTimeout {
		t.Errorf("%v after %v", held, time.Since(begun))
	}
}
