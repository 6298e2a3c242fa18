package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kita/spec"
)

// shortDir is a directory whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kita")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestTheSocketIsPrivateAndRemoved(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "kita.sock")
	old := syscall.Umask(0)
	ln, err := ListenUnix(path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.Lstat(path)
	if err != nil || stat.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v, want a socket of mode 0600", stat.Mode(), err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another server answers there") {
		t.Errorf("a second server: %v", err)
	}
	if ln.Addr().String() != path {
		t.Errorf("address %v", ln.Addr())
	}
	ln.Close()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "kita.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	ln, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), "kita.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("error %v", err)
	}
	if content, _ := os.ReadFile(path); string(content) != "precious" {
		t.Errorf("the file has %q", content)
	}
}

func TestASuccessorsSocketIsNotRemoved(t *testing.T) {
	path := filepath.Join(shortDir(t), "kita.sock")
	first, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
}

func TestTooLongASocketPath(t *testing.T) {
	dir := filepath.Join(shortDir(t), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(filepath.Join(dir, "kita.sock")); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// The socket works in plain text in encrypt mode, for both protocols.
func TestTheSocketIsPlainInEncryptMode(t *testing.T) {
	svc := testService()
	s := newTCPServer(t, Options{Service: svc, Encrypt: true})
	client := Dial(Target{Unix: s.socket})
	defer client.Close()
	if _, err := client.Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: "b"}); err != nil {
		t.Error(err)
	}
	nc, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, "stop b\n")
	if answer, err := io.ReadAll(nc); string(answer) != "stop b success" {
		t.Errorf("answer %q, %v", answer, err)
	}
	for _, c := range svc.Commands() {
		if want := "unix:" + strconv.Itoa(os.Getuid()); c.By != want {
			t.Errorf("%v by %q, want %q", c.Verb, c.By, want)
		}
	}
}

// A server of another user refuses this one, unless it is root; the socket's
// mode would too, so what the kernel says of the peer is what is tested.
func TestAnotherUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to be another user")
	}
	svc := testService()
	s := NewServer(Options{Service: svc})
	ln, err := ListenUnix(filepath.Join(shortDir(t), "kita.sock"))
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = s.ServeUnix(context.Background(), ln) })
	path := ln.Addr().String()
	if err := errors.Join(os.Chmod(path, 0o666), os.Chmod(filepath.Dir(path), 0o755)); err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]string{
		"GET /v1/children HTTP/1.0\r\n\r\n": "HTTP/1.0 403 Forbidden",
		"stop a\n":                          "user 12345 may not use this socket, only root and user 0 may",
	} {
		answer, err := askAs(12345, path, request)
		if err != nil || !strings.HasPrefix(answer, want) {
			t.Errorf("%q: %q, %v", request, answer, err)
		}
	}
	if commands := svc.Commands(); len(commands) != 0 {
		t.Errorf("commands %v", commands)
	}
	closeServer(t, s)
	served.Wait()
}
