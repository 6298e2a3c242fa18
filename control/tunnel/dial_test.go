package tunnel

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
	"kita/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func echo(t *testing.T, c *Conn, text string) {
	t.Helper()
	nc, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
		t.Errorf("got %q, %v, want %q", got, err, text)
	}
}

func TestEachRequestHasAChannelOfItsOwn(t *testing.T) {
	p := &peer{hostKey: newKey(t), subsystem: "kita"}
	addr, config := p.serve(t), newConfig(t)
	c, err := Dial(t.Context(), addr, config)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c, "first")
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() { echo(t, c, "at once") })
	}
	asking.Wait()
	if c.String() != addr {
		t.Errorf("it is at %s", c)
	}
	left, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := left.Read(make([]byte, 1)); err == nil {
		t.Error("a channel outlived its connection")
	}
	if _, err := c.Open(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("open after close: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.logins[0] != "ops" {
		t.Errorf("logged in as %v", p.logins)
	}
}

// TestAConnectionThatEndedIsMadeAnew: as when the server is upgraded.
func TestAConnectionThatEndedIsMadeAnew(t *testing.T) {
	var (
		mu   sync.Mutex
		open []net.Conn // owned by mu
	)
	p := &peer{hostKey: newKey(t), subsystem: "kita"}
	addr := listen(t, func(nc net.Conn) {
		mu.Lock()
		open = append(open, nc)
		mu.Unlock()
		p.handle(nc)
	})
	config := newConfig(t)
	c, err := Dial(t.Context(), addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c, "before")
	mu.Lock()
	open[0].Close()
	mu.Unlock()
	echo(t, c, "after")
	mu.Lock()
	defer mu.Unlock()
	if len(open) != 2 {
		t.Errorf("%d connections", len(open))
	}
}

// TestWhoIsBrokenOffTriesAgain, once: a server that is being upgraded has no time
// for a handshake, and the next one has.
func TestWhoIsBrokenOffTriesAgain(t *testing.T) {
	var tries atomic.Int32
	p := &peer{hostKey: newKey(t), subsystem: "kita"}
	addr := listen(t, func(nc net.Conn) {
		if tries.Add(1) == 2 {
			p.handle(nc)
			return
		}
		_, _ = nc.Read(make([]byte, 1))
		nc.Close()
	})
	config := newConfig(t)
	c, err := Dial(t.Context(), addr, config)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c, "the second time")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), addr, config); err == nil || tries.Load() != 4 {
		t.Errorf("it ends with %v after %d tries", err, tries.Load()-2)
	}
}

func TestDialTellsWhatIsWrong(t *testing.T) {
	known := newConfig(t)
	p := &peer{hostKey: newKey(t), subsystem: "kita"}
	addr := p.serve(t)
	c, err := Dial(t.Context(), addr, known)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()

	says := func(text string) string {
		return listen(t, func(nc net.Conn) {
			_, _ = io.WriteString(nc, text)
			// What it sent may be lost if it closes with unread bytes.
			_, _ = io.Copy(io.Discard, io.LimitReader(nc, int64(len(version)+2)))
		})
	}
	t.Run("a key that is not admitted", func(t *testing.T) {
		p := &peer{hostKey: newKey(t), admits: newKey(t).PublicKey()}
		_, err := Dial(t.Context(), p.serve(t), newConfig(t))
		var refused *KeyRefused
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "refuses the key ops (SHA256:") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("an unknown host, strictly", func(t *testing.T) {
		config := newConfig(t)
		config.HostKeys.Strict = true
		_, err := Dial(t.Context(), addr, config)
		var distrust *keyring.HostKeyError
		if !errors.As(err, &distrust) || distrust.Changed {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a server of supervisor-rs", func(t *testing.T) {
		_, err := Dial(t.Context(), says("no legal operations input"), newConfig(t))
		var other *NotSSH
		if !errors.As(err, &other) || other.Said != "no legal operations input" || !strings.Contains(err.Error(), "asked with --legacy") || strings.Contains(err.Error(), "without `with`") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a server that closes", func(t *testing.T) {
		_, err := Dial(t.Context(), listen(t, func(net.Conn) {}), newConfig(t))
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		if _, err := Dial(t.Context(), ln.Addr().String(), newConfig(t)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a server with other algorithms", func(t *testing.T) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Dial(t.Context(), (&peer{hostKey: signer}).serve(t), newConfig(t))
		var failed *Failed
		if !errors.As(err, &failed) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a key that cannot sign", func(t *testing.T) {
		config := newConfig(t)
		config.Signer = broken{config.Signer}
		_, err := Dial(t.Context(), addr, config)
		var failed *Failed
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "sign with the key ops: the agent is gone") {
			t.Errorf("error %v", err)
		}
	})
}

// broken is a key whose agent has gone.
type broken struct{ ssh.MultiAlgorithmSigner }

func (broken) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	return nil, errors.New("the agent is gone")
}

// waits is a key that says on waiting that it is asked, and again when it has
// signed, which it does once it is answered.
type waits struct {
	ssh.MultiAlgorithmSigner
	waiting  chan<- struct{}
	answered <-chan struct{}
}

func (w waits) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	w.waiting <- struct{}{}
	<-w.answered
	w.waiting <- struct{}{}
	return nil, errors.New("too late")
}

func TestAChangedHostKeyIsNeverTrusted(t *testing.T) {
	p := &peer{hostKey: newKey(t), subsystem: "kita"}
	addr, config := p.serve(t), newConfig(t)
	c, err := Dial(t.Context(), addr, config)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	p.mu.Lock()
	p.hostKey = newKey(t)
	p.mu.Unlock()
	_, err = Dial(t.Context(), addr, config)
	var distrust *keyring.HostKeyError
	if !errors.As(err, &distrust) || !distrust.Changed || distrust.Line != 1 {
		t.Errorf("error %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.logins) != 2 { // none and publickey of the first time
		t.Errorf("the client went on to log in: %v", p.logins)
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	for want, p := range map[string]*peer{
		"speaks SSH and is no kita server":       {subsystem: "sftp"},
		"opens no channel: 16 channels are open": {closesChannels: true},
	} {
		p.hostKey = newKey(t)
		c, err := Dial(t.Context(), p.serve(t), newConfig(t))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Open(t.Context())
		var refusal *spec.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		c.Close()
	}
}

// TestHalfABannerIsNotAnotherProtocol: the stream ends before anybody can tell.
func TestHalfABannerIsNotAnotherProtocol(t *testing.T) {
	for said, other := range map[string]bool{"": false, "S": false, "SSH": false, "SSH-2.0": false, "H": true, "SSL": true} {
		addr := listen(t, func(nc net.Conn) { _, _ = io.WriteString(nc, said) })
		_, err := Dial(t.Context(), addr, newConfig(t))
		var notSSH *NotSSH
		if err == nil || errors.As(err, &notSSH) != other {
			t.Errorf("after %q: %v", said, err)
		}
	}
}

// TestTheEndOfTheContextEndsAHandshake: the server is silent, or has got as far
// as its banner.
func TestTheEndOfTheContextEndsAHandshake(t *testing.T) {
	for name, banner := range map[string]string{"silent": "", "after the banner": "SSH-2.0-x\r\n"} {
		t.Run(name, func(t *testing.T) {
			begun := make(chan struct{})
			addr := listen(t, func(nc net.Conn) {
				_, _ = io.WriteString(nc, banner)
				_, _ = io.ReadFull(nc, make([]byte, len(version)))
				close(begun)
				_, _ = io.Copy(io.Discard, nc)
			})
			why := errors.New("the user has gone")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-begun
				cancel(why)
			}()
			if _, err := Dial(ctx, addr, newConfig(t)); !errors.Is(err, why) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("an agent that waits for its user", func(t *testing.T) {
		p := &peer{hostKey: newKey(t), subsystem: "kita"}
		config, waiting, answered := newConfig(t), make(chan struct{}), make(chan struct{})
		config.Signer = waits{config.Signer, waiting, answered}
		defer func() {
			close(answered)
			<-waiting
		}()
		why := errors.New("the user has gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			<-waiting
			cancel(why)
		}()
		if _, err := Dial(ctx, p.serve(t), config); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		addr := listen(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
		if _, err := Dial(ctx, addr, newConfig(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}
