package sshchan

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is both ends of one channel. sever ends the SSH connection below, from
// the side of a.
func pair(t *testing.T) (a, b *Conn, sever func()) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan *Conn, 1)
	go func() { ends <- serve(accepted, key) }()
	client, channels, requests, err := ssh.NewClientConn(dialed, "x", &ssh.ClientConfig{User: "x", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	go func() {
		for range channels {
		}
	}()
	ch, chRequests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(chRequests)
	a, b = New(ch, client.LocalAddr(), client.RemoteAddr()), <-ends
	if b == nil {
		t.Fatal("no channel came")
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
		client.Close()
		for _, c := range []*Conn{a, b} {
			within(t, "the end of the goroutines", c.Done())
		}
	})
	return a, b, func() { client.Close() }
}

// serve accepts one channel.
func serve(nc net.Conn, key ssh.Signer) *Conn {
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(key)
	server, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		return nil
	}
	go ssh.DiscardRequests(requests)
	offered := <-channels
	go func() {
		for range channels {
		}
	}()
	ch, chRequests, err := offered.Accept()
	if err != nil {
		return nil
	}
	go ssh.DiscardRequests(chRequests)
	return New(ch, server.LocalAddr(), server.RemoteAddr())
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s after 30 s", what)
	}
}

func TestBytesArriveBothWaysAndHalfClosedConnsGoOn(t *testing.T) {
	a, b, _ := pair(t)
	// More than both windows, so that it is moved on while it is read.
	sent := bytes.Repeat([]byte("kita "), 1<<20)
	go func() {
		_, _ = a.Write(sent)
		_ = a.CloseWrite()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes arrived of %d, %v", len(got), len(sent), err)
	}
	go func() {
		_, _ = b.Write([]byte("answer"))
		_ = b.Close()
	}()
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		t.Errorf("answer %q, %v", got, err)
	}
	if a.RemoteAddr().String() != b.LocalAddr().String() || a.LocalAddr().String() != b.RemoteAddr().String() {
		t.Errorf("addresses %v, %v, %v, %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
}

func TestADeadlineEndsOneReadAndNotTheNext(t *testing.T) {
	a, b, _ := pair(t)
	p := make([]byte, 16)
	if err := b.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	if err := b.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(p); err != nil || string(p[:n]) != "late" {
		t.Errorf("read %q, %v", p[:n], err)
	}
}

func TestADeadlineEndsAWriteThatNobodyTakes(t *testing.T) {
	a, _, _ := pair(t)
	if err := a.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := a.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > 8<<20 {
		t.Errorf("%d bytes were taken, error %v", n, err)
	}
}

func TestAPeerThatIsGoneIsSeenByBothSides(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		a, b, _ := pair(t)
		b.Close()
		if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
		for {
			if _, err := a.Write(make([]byte, 1024)); err != nil {
				if !errors.Is(err, syscall.EPIPE) {
					t.Errorf("write: %v", err)
				}
				break
			}
		}
	})
	t.Run("severed", func(t *testing.T) {
		_, b, sever := pair(t)
		sever()
		if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

func TestAClosedConnSaysSo(t *testing.T) {
	a, _, _ := pair(t)
	reading := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		reading <- err
	}()
	a.Close()
	a.Close()
	if err := <-reading; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if err := a.SetDeadline(time.Time{}); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("set a deadline: %v", err)
	}
}
