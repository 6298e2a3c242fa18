package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
)

// lockedKey is a file with a key whose passphrase is "secret".
func lockedKey(t *testing.T) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "locked")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAKeyIsAskedForOnce(t *testing.T) {
	file := lockedKey(t)
	var prompts []string
	p := newPassphrases("", nil)
	p.terminal = func(prompt string) ([]byte, error) {
		prompts = append(prompts, prompt)
		return []byte("secret"), nil
	}
	k := newKeychain(p.of)
	for range 3 {
		if key, err := k.open(t.Context(), file); err != nil || key.Name != "locked" {
			t.Fatalf("%+v, %v", key, err)
		}
	}
	// What the user does not tell is not asked again either.
	p.terminal = func(prompt string) ([]byte, error) {
		prompts = append(prompts, prompt)
		return nil, errInterrupted
	}
	for range 2 {
		if _, err := p.of("other"); !errors.Is(err, errInterrupted) {
			t.Errorf("error %v", err)
		}
	}
	if len(prompts) != 2 || prompts[0] != "Passphrase of "+file+": " {
		t.Errorf("asked %q", prompts)
	}
}

func TestWithoutATerminalThePassphraseHasToBeInAFile(t *testing.T) {
	p := newPassphrases("", nil)
	p.terminal = func(string) ([]byte, error) { return nil, errNoTerminal }
	if _, err := p.of("ops.pem"); err == nil || !strings.Contains(err.Error(), "--key-passphrase-file FILE") {
		t.Errorf("error %v", err)
	}
	file := filepath.Join(t.TempDir(), "passphrase")
	for content, want := range map[string]string{
		"secret\n": "secret", "secret\r\nmore\n": "secret", "a b ": "a b ", "": "", "\n": "", strings.Repeat("x", maxPassphrase+1): "",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := newPassphrases(file, nil).of("ops.pem")
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%.20q: %q, %v, want %q", content, got, err, want)
		}
	}
}

// TestAKeyOfOneHostThatCannotBeOpenedIsItsErrorAlone: the others are asked.
func TestAKeyOfOneHostThatCannotBeOpenedIsItsErrorAlone(t *testing.T) {
	server := serveFake(t, controltest.New(controltest.Child("web")))
	file := filepath.Join(t.TempDir(), "hosts.yml")
	text := "hosts:\n  good: " + server.tcp + "\n  bad: {address: " + unused(t) + ", key: /nowhere/ops.pem}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, stderr := kita("", "start", "web", "--hosts-file", file, "on", "bad,good", "-o", "json")
	if status != exitFailed || !strings.Contains(out, `"good": {
    "verb": "start"`) || !strings.Contains(stderr, "kita: bad: cannot read the key /nowhere/ops.pem: no such file") {
		t.Errorf("status %d, stdout %s, stderr %s", status, out, stderr)
	}
}

// TestCtrlCAtAQuestionEndsTheCommand: of no host, and before anything is sent.
func TestCtrlCAtAQuestionEndsTheCommand(t *testing.T) {
	file := hostsFile(t, fmt.Sprintf("hosts: {k1: {key: %s}, k2: {key: %s}, plain: 127.0.0.1}\n", lockedKey(t), lockedKey(t)))
	p := &program{name: "kita", defaultSocket: func() (string, bool) { return "", false }}
	r, err := p.request(spec.VerbRestart, strings.Fields("web on k1,k2,plain"), flags{timeout: defaultTimeout, hostsFile: file, fan: fanFlags{parallel: 1}})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	questions := newPassphrases("", nil)
	questions.terminal = func(string) ([]byte, error) {
		asked++
		return nil, errInterrupted
	}
	r.keys = newKeychain(questions.of)
	err = p.withKeys(t.Context(), r, func(context.Context) error {
		t.Error("the command goes on")
		return nil
	})
	if !errors.Is(err, errInterrupted) || asked != 1 || exitStatus(err) != exitFailed {
		t.Errorf("asked %d times, %v", asked, err)
	}
	// The identities of ssh:// are asked about while hosts are asked.
	if _, err := questions.of("another"); !errors.Is(err, errInterrupted) || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

func TestWithAKeyTheServerOfThisHostIsAskedOverItsPort(t *testing.T) {
	p := &program{name: "kita", defaultSocket: func() (string, bool) { return "/run/kita/kita.sock", true }}
	for args, socket := range map[string]string{
		"": "/run/kita/kita.sock", "with ops.pem": "", "on 127.0.0.1": "",
	} {
		r, err := p.request("check", strings.Fields(args), flags{timeout: defaultTimeout})
		if err != nil || r.socket != socket || len(r.hosts) != 1 || r.hosts[0].Addr() != fleet.Local.Addr() {
			t.Errorf("check %s: socket %q, hosts %v, %v", args, r.socket, r.hosts, err)
		}
	}
}
