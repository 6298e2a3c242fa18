package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Guest. Its API says who it is and repeats what it is told.
type fake struct {
	name  string
	check error
	exec  func(ctx context.Context, line string, stdout, stderr io.Writer) int

	// channels has room for 100 where it is nil.
	channels chan struct{}

	mu      sync.Mutex
	refused []string // owned by mu
}

func (f *fake) Channels() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.channels == nil {
		f.channels = make(chan struct{}, 100)
	}
	return f.channels
}

func (f *fake) Refused(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, what)
}

// wantRefused tells what must have been refused so far.
func (f *fake) wantRefused(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.refused, want) {
		t.Errorf("refused are %q, want %q", f.refused, want)
	}
}

func (f *fake) Check() error { return f.check }

func (f *fake) API(nc net.Conn) {
	go func() {
		defer nc.Close()
		_, _ = io.WriteString(nc, f.name+"\n")
		_, _ = io.Copy(nc, nc)
	}()
}

func (f *fake) Exec(ctx context.Context, line string, stdout, stderr io.Writer) int {
	if f.exec == nil {
		_, _ = io.WriteString(stdout, f.name+" said "+line)
		return 3
	}
	return f.exec(ctx, line, stdout, stderr)
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// peer is a server's connection and the client at its other end.
type peer struct {
	t      *testing.T
	conn   *Conn
	client *ssh.Client
	served chan error
	panics chan string
}

// connect lets the client in as g. change, when not nil, changes the options.
func connect(t *testing.T, g *fake, change func(*Options)) *peer {
	t.Helper()
	p := &peer{t: t, served: make(chan error, 1), panics: make(chan string, 10)}
	user := newKey(t)
	near, far := tcpPair(t)
	opt := Options{
		HostKey: newKey(t),
		Admit: func(_ string, key ssh.PublicKey) (Guest, error) {
			if !bytes.Equal(key.Marshal(), user.PublicKey().Marshal()) {
				return nil, errors.New("no file has the key")
			}
			return g, nil
		},
		Authenticated: func(Guest) {},
		Channels:      make(chan struct{}, 100),
		Panicked:      func(v any, _ []byte) { p.panics <- fmt.Sprint(v) },
		Begun:         time.Now(), Handshake: 30 * time.Second, Idle: time.Minute, Write: 30 * time.Second, Linger: 30 * time.Second,
	}
	if change != nil {
		change(&opt)
	}
	p.conn = New(far, nil, opt)
	go func() { p.served <- p.conn.Serve() }()
	conn, channels, requests, err := ssh.NewClientConn(near, "", &ssh.ClientConfig{
		User: "x", Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKeyCallback: ssh.FixedHostKey(opt.HostKey.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.client = ssh.NewClient(conn, channels, requests)
	t.Cleanup(func() {
		_ = p.client.Close()
		p.end()
		if len(opt.Channels) != 0 || len(g.Channels()) != 0 {
			t.Errorf("%d channels are left, of the key %d", len(opt.Channels), len(g.Channels()))
		}
	})
	return p
}

// end waits until the server's side has ended.
func (p *peer) end() {
	p.t.Helper()
	select {
	case err := <-p.served:
		p.served <- err
		if err != nil {
			p.t.Errorf("serve: %v", err)
		}
	case <-time.After(time.Minute):
		p.t.Fatal("the connection does not end")
	}
}

func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func (p *peer) session() *ssh.Session {
	p.t.Helper()
	s, err := p.client.NewSession()
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func status(err error) int {
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return exit.ExitStatus()
	}
	if err == nil {
		return 0
	}
	return -1
}

func TestWhatEndsACommand(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*ssh.Session)
	}{
		{"a signal", func(s *ssh.Session) { _ = s.Signal(ssh.SIGINT) }},
		{"the channel's close", func(s *ssh.Session) { _ = s.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			began, ended := make(chan struct{}), make(chan error, 1)
			p := connect(t, &fake{exec: func(ctx context.Context, _ string, stdout, _ io.Writer) int {
				close(began)
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return 1
			}}, nil)
			s := p.session()
			// An end of file at once, as from </dev/null: it ends nothing.
			s.Stdin = strings.NewReader("")
			if err := s.Start("wait"); err != nil {
				t.Fatal(err)
			}
			<-began
			if ok, err := s.SendRequest("keepalive@openssh.com", true, nil); ok || err != nil {
				t.Errorf("a keep-alive is answered with %t, %v", ok, err)
			}
			select {
			case err := <-ended:
				t.Errorf("the command ends with its input: %v", err)
			default:
			}
			c.end(s)
			if err := <-ended; !errors.Is(err, errClient) {
				t.Errorf("the command ends with %v", err)
			}
		})
	}
}

func TestOneRequestAChannel(t *testing.T) {
	g := &fake{name: "ops"}
	p := connect(t, g, nil)
	ch, requests, err := p.client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	for _, r := range []struct {
		kind, text string
		want       bool
	}{
		{"pty-req", "", false}, {"env", "", false}, {"x11-req", "", false}, {"auth-agent-req@openssh.com", "", false},
		{"subsystem", "sftp\n", false}, {"subsystem", "kita", true}, {"exec", "check", false}, {"shell", "", false}, {"subsystem", "kita", false},
	} {
		ok, err := ch.SendRequest(r.kind, true, ssh.Marshal(struct{ Text string }{r.text}))
		if ok != r.want || err != nil {
			t.Errorf("%s %s: %t, %v", r.kind, r.text, ok, err)
		}
	}
	g.wantRefused(t, "a terminal", `the subsystem "sftp\n"`)
	if _, err := io.WriteString(ch, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = ch.CloseWrite()
	if said, err := io.ReadAll(ch); string(said) != "ops\nhello" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
}

func TestWhoDoesNotReadIsSentAway(t *testing.T) {
	p := connect(t, &fake{exec: func(_ context.Context, _ string, stdout, _ io.Writer) int {
		// Much more than the window and the buffers of TCP.
		block := make([]byte, 1<<20)
		for range 100 {
			if _, err := stdout.Write(block); err != nil {
				return 1
			}
		}
		return 0
	}}, func(o *Options) { o.Write = time.Second })
	ch, requests, err := p.client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if _, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{"flood"})); err != nil {
		t.Fatal(err)
	}
	p.end()
}

// flood is a command line with much more output than the window and the buffers
// of TCP hold, and a client that has yet to read any of it.
func flood(t *testing.T, change func(*Options)) (p *peer, ch ssh.Channel, size int) {
	const blocks, block = 20, 1 << 20
	p = connect(t, &fake{exec: func(_ context.Context, _ string, stdout, _ io.Writer) int {
		stdout.(interface{ SetPatience(time.Duration) }).SetPatience(time.Hour)
		for range blocks {
			if _, err := stdout.Write(make([]byte, block)); err != nil {
				return 1
			}
		}
		return 0
	}}, change)
	ch, requests, err := p.client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if _, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{"logs web -f"})); err != nil {
		t.Fatal(err)
	}
	return p, ch, blocks * block
}

func TestAPatientCommandWaitsForItsReader(t *testing.T) {
	_, ch, size := flood(t, func(o *Options) { o.Write = time.Second })
	// As long as an impatient one would have been given up twice.
	time.Sleep(2200 * time.Millisecond)
	if n, err := io.Copy(io.Discard, ch); int(n) != size || err != nil {
		t.Errorf("%d bytes of %d, %v", n, size, err)
	}
	_ = ch.Close()
}

func TestAPatientCommandDoesNotHoldUpAServerThatLeaves(t *testing.T) {
	p, _, _ := flood(t, func(o *Options) { o.Linger = 20 * time.Millisecond })
	p.conn.Leave()
	p.end()
}

func TestWhoIsOfNoUseIsSentAway(t *testing.T) {
	t.Run("no channel", func(t *testing.T) {
		connect(t, &fake{}, func(o *Options) { o.Idle = 50 * time.Millisecond }).end()
	})
	t.Run("a channel for nothing", func(t *testing.T) {
		p := connect(t, &fake{}, func(o *Options) { o.Handshake = 2 * time.Second })
		if _, _, err := p.client.OpenChannel("session", nil); err != nil {
			t.Fatal(err)
		}
		p.end()
	})
	t.Run("a key that was revoked", func(t *testing.T) {
		p := connect(t, &fake{check: errors.New("the key was revoked")}, nil)
		if _, err := p.client.NewSession(); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("a session: %v", err)
		}
		p.end()
	})
}

func TestAPanicEndsItsChannel(t *testing.T) {
	p := connect(t, &fake{exec: func(context.Context, string, io.Writer, io.Writer) int { panic("a defect") }}, nil)
	for range 2 {
		s := p.session()
		said, err := s.CombinedOutput("x")
		if status(err) != statusDefect || !strings.Contains(string(said), "defect of the server") {
			t.Errorf("%q, %v", said, err)
		}
		if got := <-p.panics; got != "a defect" {
			t.Errorf("panicked with %s", got)
		}
	}
}

func TestLeaveLetsCommandsEnd(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	p := connect(t, &fake{exec: func(_ context.Context, _ string, stdout, _ io.Writer) int {
		close(began)
		<-end
		_, _ = io.WriteString(stdout, "done")
		return 0
	}}, nil)
	s := p.session()
	var stdout bytes.Buffer
	s.Stdout = &stdout
	if err := s.Start("x"); err != nil {
		t.Fatal(err)
	}
	<-began
	p.conn.Leave()
	if _, err := p.client.NewSession(); err == nil {
		t.Error("a channel is opened although the server leaves")
	}
	close(end)
	if err := s.Wait(); err != nil || stdout.String() != "done" {
		t.Errorf("%q, %v", stdout.String(), err)
	}
	p.end()
}

func TestBreakTellsWhy(t *testing.T) {
	began := make(chan struct{})
	p := connect(t, &fake{exec: func(ctx context.Context, _ string, _, _ io.Writer) int {
		close(began)
		<-ctx.Done()
		return 1
	}}, nil)
	s := p.session()
	var stderr bytes.Buffer
	s.Stderr = &stderr
	if err := s.Start("x"); err != nil {
		t.Fatal(err)
	}
	<-began
	p.conn.Break(errors.New("the key ops was revoked"))
	if err := s.Wait(); status(err) != 1 || stderr.String() != "kita: the key ops was revoked\n" {
		t.Errorf("%q, %v", stderr.String(), err)
	}
	p.end()
}
