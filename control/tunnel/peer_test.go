package tunnel

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

// peer is a server to dial. Its fields say how it behaves.
type peer struct {
	hostKey ssh.Signer // owned by mu once it serves
	// admits is the key that may log in; nil for all.
	admits ssh.PublicKey
	// subsystem is what it serves: an echo of what it gets.
	subsystem string
	// closesChannels: no channel is opened.
	closesChannels bool

	mu     sync.Mutex
	logins []string // owned by mu
}

// serve listens until the test ends.
func (p *peer) serve(t *testing.T) (addr string) {
	return listen(t, p.handle)
}

// handle serves one connection.
func (p *peer) handle(nc net.Conn) {
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if p.admits != nil && string(key.Marshal()) != string(p.admits.Marshal()) {
				return nil, errors.New("no")
			}
			return nil, nil
		},
		AuthLogCallback: func(c ssh.ConnMetadata, method string, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.logins = append(p.logins, c.User())
		},
	}
	p.mu.Lock()
	config.AddHostKey(p.hostKey)
	p.mu.Unlock()
	conn, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		return
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() { ssh.DiscardRequests(requests) })
	for offered := range channels {
		if p.closesChannels {
			_ = offered.Reject(ssh.ResourceShortage, "16 channels are open")
			continue
		}
		ch, chRequests, err := offered.Accept()
		if err != nil {
			break
		}
		serving.Go(func() { p.channel(ch, chRequests) })
	}
	_ = conn.Close()
}

func (p *peer) channel(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	var echo sync.WaitGroup
	defer echo.Wait()
	for r := range requests {
		ok := r.Type == "subsystem" && string(r.Payload[4:]) == p.subsystem
		_ = r.Reply(ok, nil)
		if ok {
			echo.Go(func() {
				_, _ = io.Copy(ch, ch)
				_ = ch.Close()
			})
		}
	}
}

// listen calls handle for each connection, and ends with the test.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				handle(nc)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return ln.Addr().String()
}

func newKey(t *testing.T) ssh.MultiAlgorithmSigner {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer.(ssh.MultiAlgorithmSigner)
}

func newConfig(t *testing.T) Config {
	t.Helper()
	return Config{User: "ops", Signer: newKey(t), HostKeys: &keyring.KnownHosts{
		Files: []string{filepath.Join(t.TempDir(), "kita", "known_hosts")}, Notice: func(string) {},
	}}
}
