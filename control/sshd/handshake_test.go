package sshd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// offer is a login with keys that ends with why it was refused.
func offer(t *testing.T, change func(*Options), config ssh.ClientConfig) (*Refused, error) {
	t.Helper()
	near, far := tcpPair(t)
	defer near.Close()
	opt := Options{
		HostKey:       newKey(t),
		Admit:         func(string, ssh.PublicKey) (Guest, error) { return nil, errors.New("no file has the key") },
		Authenticated: func(Guest) { t.Error("the client is let in") },
		Channels:      make(chan struct{}, 1),
		Begun:         time.Now(), Handshake: 30 * time.Second, Idle: time.Minute, Write: time.Minute, Linger: time.Minute,
	}
	if change != nil {
		change(&opt)
	}
	served := make(chan error, 1)
	go func() { served <- New(far, nil, opt).Serve() }()
	config.HostKeyCallback = ssh.FixedHostKey(opt.HostKey.PublicKey())
	_, _, _, clientErr := ssh.NewClientConn(near, "", &config)
	if clientErr == nil {
		t.Fatal("the client is let in")
	}
	_ = near.Close()
	var refused *Refused
	if err := <-served; !errors.As(err, &refused) {
		t.Fatalf("serve: %v", err)
	}
	return refused, clientErr
}

func TestWhyKeysAreRefused(t *testing.T) {
	var signers []ssh.Signer
	for range 9 {
		signers = append(signers, newKey(t))
	}
	refused, _ := offer(t, nil, ssh.ClientConfig{User: "ops\n\"", Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}})
	if refused.Fault != BadKey || strings.Count(refused.Reason, "SHA256:") != maxTries || strings.Contains(refused.Reason, "\n") {
		t.Errorf("%v: %s", refused.Fault, refused.Reason)
	}
	for i, s := range signers[:maxTries] {
		if want := ssh.FingerprintSHA256(s.PublicKey()) + ` for login "ops\n\"": no file has the key`; !strings.Contains(refused.Reason, want) {
			t.Errorf("key %d: %q is not in %s", i, want, refused.Reason)
		}
	}
	refused, _ = offer(t, nil, ssh.ClientConfig{User: "ops", Auth: []ssh.AuthMethod{ssh.Password("secret")}})
	if refused.Fault != BadKey || refused.Reason != "the client offered no key" {
		t.Errorf("%v: %s", refused.Fault, refused.Reason)
	}
}

// Whatever is wrong with a key, its owner is told the same.
func TestRefusedKeysLookAlike(t *testing.T) {
	key := newKey(t)
	told := map[string]bool{}
	for _, reason := range []string{"no file has the key", "two files have its name", "it may be written by others"} {
		_, err := offer(t, func(o *Options) {
			o.Admit = func(string, ssh.PublicKey) (Guest, error) { return nil, errors.New(reason) }
		}, ssh.ClientConfig{User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}})
		told[err.Error()] = true
	}
	if len(told) != 1 {
		t.Errorf("clients are told %v", told)
	}
}

// A client that asks about a key that is admitted, which anybody may have seen,
// and cannot sign with it, is nobody.
func TestAKeyMustBeProved(t *testing.T) {
	admitted, own := newKey(t), newKey(t)
	refused, _ := offer(t, func(o *Options) {
		o.Admit = func(_ string, key ssh.PublicKey) (Guest, error) { return &fake{}, nil }
	}, ssh.ClientConfig{User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(forged{own, admitted.PublicKey()})}})
	if refused.Fault != BadKey || !strings.Contains(refused.Reason, "did not prove") {
		t.Errorf("%v: %s", refused.Fault, refused.Reason)
	}
}

// forged signs with another key than the one it shows.
type forged struct {
	ssh.Signer
	shown ssh.PublicKey
}

func (f forged) PublicKey() ssh.PublicKey { return f.shown }

func TestNothingOldIsAgreedUpon(t *testing.T) {
	key := newKey(t)
	for name, config := range map[string]ssh.Config{
		"SHA-1":    {KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1}},
		"CBC":      {Ciphers: []string{ssh.InsecureCipherAES128CBC}},
		"no AEAD":  {Ciphers: []string{ssh.CipherAES128CTR}},
		"chacha20": {Ciphers: []string{ssh.CipherChaCha20Poly1305}},
	} {
		refused, _ := offer(t, nil, ssh.ClientConfig{Config: config, User: "x", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}})
		if refused.Fault != Malformed || !strings.Contains(refused.Reason, "no common algorithm") {
			t.Errorf("%s: %v, %s", name, refused.Fault, refused.Reason)
		}
	}
}

func TestStallingEndsAtTheDeadline(t *testing.T) {
	sends := []string{"", "SSH-2.0-x", "SSH-2.0-x\r\n", "SSH-2.0-x\r\n\x00\x00\x01\x00\x04\x14"}
	// IGNORE and DEBUG, which are not answered: the gate is shut.
	for _, kind := range []byte{2, 4} {
		sends = append(sends, "SSH-2.0-x\r\n"+strings.Repeat(string(packet(kind, 12, false)), 2*maxAhead))
	}
	for _, sent := range sends {
		near, far := tcpPair(t)
		_, _ = io.WriteString(near, sent)
		conn := New(far, []byte("SSH"[:min(len(sent), 3)]), Options{HostKey: newKey(t), Begun: time.Now(), Handshake: 50 * time.Millisecond})
		var refused *Refused
		if err := conn.Serve(); !errors.As(err, &refused) || refused.Fault != Stalled || !strings.Contains(refused.Reason, "50ms") {
			t.Errorf("after %q: %v", sent, err)
		}
		_ = near.Close()
	}
}

// A client may shut the gate for good: Leave opens it.
func TestLeaveEndsAHandshakeThatWaitsAtTheGate(t *testing.T) {
	near, far := tcpPair(t)
	defer near.Close()
	conn := New(far, nil, Options{HostKey: newKey(t), Begun: time.Now(), Handshake: time.Hour})
	served := make(chan error, 1)
	go func() { served <- conn.Serve() }()
	_, _ = io.WriteString(near, "SSH-2.0-x\r\n"+strings.Repeat(string(packet(2, 12, false)), maxAhead+1))
	for deadline := time.Now().Add(30 * time.Second); !conn.wire.gate.isShut(); {
		if time.Now().After(deadline) {
			t.Fatal("the gate is never shut")
		}
		runtime.Gosched()
	}
	conn.Leave()
	var refused *Refused
	if err := <-served; !errors.As(err, &refused) || refused.Fault != Ended {
		t.Errorf("serve: %v", err)
	}
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ahead >= maxAhead
}

// canned is a connection from which all comes at once, and that takes anything.
type canned struct {
	net.Conn
	in     io.Reader
	closed atomic.Bool
}

func (c *canned) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *canned) Write(p []byte) (int, error) { return len(p), nil }
func (c *canned) Close() error                { c.closed.Store(true); return nil }
func (c *canned) SetDeadline(time.Time) error { return nil }

// packet is one in clear, or as it looks with AES-GCM.
func packet(kind byte, size int, sealed bool) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(size))
	p = append(p, make([]byte, size)...)
	p[4], p[5] = 4, kind
	if sealed {
		p = append(p, make([]byte, tagSize)...)
	}
	return p
}

func TestPacketsAreLetThroughAsTheyAreAnswered(t *testing.T) {
	const greeting = "SSH-2.0-x\r\n"
	in := []byte(greeting)
	in = append(in, packet(20, 500, false)...)
	in = append(in, packet(30, 40, false)...)
	in = append(in, packet(newKeys, 12, false)...)
	const more = 100
	for range more {
		in = append(in, packet(50, 12, true)...)
	}
	w := newWire(&canned{in: bytes.NewReader(in)}, nil, time.Minute)
	lengths := make(chan int, more+10)
	go func() {
		defer close(lengths)
		if _, err := io.ReadFull(w, make([]byte, len(greeting))); err != nil {
			t.Error(err)
		}
		p := make([]byte, 4096)
		for {
			n, err := w.Read(p)
			if err != nil {
				if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				return
			}
			lengths <- n
		}
	}()
	want := []int{504, 44, 16}
	for range maxAhead - len(want) {
		want = append(want, 32)
	}
	for i, n := range want {
		if got := <-lengths; got != n {
			t.Fatalf("read %d gives %d bytes, want %d", i, got, n)
		}
	}
	for range 10 {
		select {
		case <-lengths:
			t.Fatal("a packet is let through before another one is answered")
		default:
		}
		if _, err := w.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if got := <-lengths; got != 32 {
			t.Fatalf("%d bytes after an answer", got)
		}
	}
	_ = w.Close()
	if _, ok := <-lengths; ok {
		t.Error("a closed connection lets packets through that came before")
	}
}

// A client that was authenticated while the next packet was awaited may send a
// long one.
func TestLongPacketsMayFollowTheHandshake(t *testing.T) {
	in, out := io.Pipe()
	w := newWire(&canned{in: in}, nil, time.Minute)
	go func() { _, _ = out.Write([]byte("\n")) }()
	if _, err := w.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go func() {
		// The first byte is taken once the packet is awaited.
		_, _ = out.Write([]byte{0xff})
		w.authenticated()
		_, _ = out.Write(make([]byte, 100_000))
		_ = out.Close()
	}()
	n, err := io.Copy(io.Discard, w)
	if n != 100_001 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestLongPacketsAreRefusedEarly(t *testing.T) {
	for _, length := range []uint32{0, 1, maxPacket + 1, 1 << 31, 1<<32 - 1} {
		in := append([]byte("\n"), binary.BigEndian.AppendUint32(nil, length)...)
		w := newWire(&canned{in: bytes.NewReader(append(in, make([]byte, 1000)...))}, nil, time.Minute)
		if _, err := w.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if n, err := w.Read(make([]byte, 100)); err == nil || n > 0 || !strings.Contains(err.Error(), fmt.Sprint(length)) {
			t.Errorf("%d: %d, %v", length, n, err)
		}
	}
}

// FuzzHandshake sends anything in place of a handshake.
func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{"", "SSH-2.0-x\r\n", "SSH-2.0-x\n\x00\x00\x00\x0c\x04\x14", "SSH-1.5\n"} {
		f.Add([]byte(seed))
	}
	f.Add(append([]byte("SSH-2.0-x\n"), packet(20, 300, false)...))
	f.Add(append([]byte("SSH-2.0-x\n"), packet(newKeys, 12, false)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		nc := &canned{in: bytes.NewReader(in)}
		conn := New(nc, nil, Options{
			HostKey: newKey(t), Begun: time.Now(), Handshake: time.Minute,
			Admit: func(string, ssh.PublicKey) (Guest, error) { return nil, errors.New("nobody") },
		})
		var refused *Refused
		if err := conn.Serve(); !errors.As(err, &refused) || !nc.closed.Load() || len(refused.Reason) > 1000 {
			t.Errorf("%v, closed: %t", err, nc.closed.Load())
		}
	})
}
