package sshhost

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// rwc is the host's end of what is forwarded.
type rwc = io.ReadWriteCloser

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func signerOf(t testing.TB, key any) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// writeKey writes a private key in the format of OpenSSH.
func writeKey(t testing.TB, path string, key ed25519.PrivateKey, passphrase string) {
	t.Helper()
	var (
		block *pem.Block
		err   error
	)
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(pem.EncodeToMemory(block)))
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startAgent serves keys in the way of ssh-agent and returns its socket.
func startAgent(t *testing.T, keys ...agent.AddedKey) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, key := range keys {
		if err := ring.Add(key); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "a")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "agent")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				_ = agent.ServeAgent(ring, nc)
				_ = nc.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		tasks.Wait()
		_ = os.RemoveAll(dir)
	})
	return socket
}

// fakeHost is a host with an sshd that does as its fields say. They must not be
// changed once somebody has connected.
type fakeHost struct {
	port uint16
	key  ssh.Signer
	// version is how its sshd begins; change may do anything to it.
	version string
	change  func(*ssh.ServerConfig)
	// intrude gets the connection once somebody is logged in.
	intrude func(*ssh.ServerConn)
	// authorized is the key that is let in; nil: every one.
	authorized ssh.PublicKey
	// sockets and ports answer for what is forwarded to; nil: sshd forbids it.
	sockets map[string]func(rwc)
	ports   map[string]func(rwc)
	// exec runs a command line; nil: sshd forbids it.
	exec func(line string, ch ssh.Channel) (status int)

	mu sync.Mutex
	// offered are the keys as they came, opened the channels.
	offered []string
	opened  []string
}

// start makes the host listen on loopback until the test ends.
func (f *fakeHost) start(t *testing.T) *fakeHost {
	t.Helper()
	if f.key == nil {
		f.key = signerOf(t, newKey(t))
	}
	config := &ssh.ServerConfig{MaxAuthTries: 6, PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		name := ssh.FingerprintSHA256(key)
		f.mu.Lock()
		if len(f.offered) == 0 || f.offered[len(f.offered)-1] != name {
			f.offered = append(f.offered, name)
		}
		f.mu.Unlock()
		if f.authorized != nil && !bytes.Equal(f.authorized.Marshal(), key.Marshal()) {
			return nil, io.EOF
		}
		return nil, nil
	}}
	config.AddHostKey(f.key)
	config.ServerVersion = f.version
	if f.change != nil {
		f.change(config)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.port = uint16(ln.Addr().(*net.TCPAddr).Port)
	var (
		tasks sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	tasks.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, nc)
			mu.Unlock()
			tasks.Go(func() { f.serve(nc, config) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, nc := range conns {
			_ = nc.Close()
		}
		mu.Unlock()
		tasks.Wait()
	})
	return f
}

func (f *fakeHost) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(f.port))) }

func (f *fakeHost) serve(nc net.Conn, config *ssh.ServerConfig) {
	defer nc.Close()
	conn, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		return
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer conn.Close()
	tasks.Go(func() { ssh.DiscardRequests(requests) })
	if f.intrude != nil {
		tasks.Go(func() { f.intrude(conn) })
	}
	for channel := range channels {
		tasks.Go(func() { f.channel(channel) })
	}
}

func (f *fakeHost) channel(c ssh.NewChannel) {
	switch c.ChannelType() {
	case "session":
		f.note("session")
		f.session(c)
	case "direct-streamlocal@openssh.com":
		var to directStreamlocal
		_ = ssh.Unmarshal(c.ExtraData(), &to)
		f.forward(c, to.Path, f.sockets)
	case "direct-tcpip":
		var to directTCPIP
		_ = ssh.Unmarshal(c.ExtraData(), &to)
		f.forward(c, net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))), f.ports)
	default:
		_ = c.Reject(ssh.UnknownChannelType, "unknown channel type")
	}
}

func (f *fakeHost) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened = append(f.opened, what)
}

// seen returns what was offered and opened so far.
func (f *fakeHost) seen() (offered, opened []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.offered...), append([]string(nil), f.opened...)
}

func (f *fakeHost) forward(c ssh.NewChannel, to string, known map[string]func(rwc)) {
	f.note(to)
	answer := known[to]
	switch {
	case known == nil:
		_ = c.Reject(ssh.Prohibited, "open failed")
	case answer == nil:
		_ = c.Reject(ssh.ConnectionFailed, "open failed")
	default:
		ch, requests, err := c.Accept()
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		defer ch.Close()
		answer(ch)
	}
}

func (f *fakeHost) session(c ssh.NewChannel) {
	ch, requests, err := c.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		var line struct{ Text string }
		if r.Type != "exec" || f.exec == nil || ssh.Unmarshal(r.Payload, &line) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		status := f.exec(line.Text, ch)
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
		return
	}
}

// pipeTo leads to another host.
func pipeTo(addr string) func(rwc) {
	return func(c rwc) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer nc.Close()
		var tasks sync.WaitGroup
		tasks.Go(func() {
			_, _ = io.Copy(nc, c)
			_ = nc.Close()
		})
		_, _ = io.Copy(c, nc)
		_ = c.Close()
		tasks.Wait()
	}
}

// exchange says something and returns the whole answer.
func exchange(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	return string(answer)
}

// says answers anything with text, once something was asked.
func says(text string) func(rwc) {
	return func(c rwc) {
		buffer := make([]byte, 4096)
		_, _ = c.Read(buffer)
		_, _ = io.WriteString(c, text)
	}
}
