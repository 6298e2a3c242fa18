package sshhost

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// buffered is a pipe whose writers do not wait for readers: both ends of SSH
// begin by writing.
type buffered struct {
	net.Conn
	queue chan []byte
	done  chan struct{}
	once  sync.Once
}

func newBuffered(nc net.Conn) *buffered {
	b := &buffered{Conn: nc, queue: make(chan []byte, 100), done: make(chan struct{})}
	go func() {
		for {
			select {
			case <-b.done:
				return
			case p := <-b.queue:
				if _, err := nc.Write(p); err != nil {
					return
				}
			}
		}
	}()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	select {
	case <-b.done:
		return 0, net.ErrClosed
	case b.queue <- bytes.Clone(p):
		return len(p), nil
	}
}

func (b *buffered) Close() error {
	b.once.Do(func() { close(b.done) })
	return b.Conn.Close()
}

// pipedHost is a Host whose other end is server, without a network.
func pipedHost(t *testing.T, server func(*ssh.ServerConn, <-chan *ssh.Request)) *Host {
	t.Helper()
	nearEnd, farEnd := net.Pipe()
	near, far := newBuffered(nearEnd), newBuffered(farEnd)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signerOf(t, newKey(t)))
	go func() {
		conn, channels, requests, err := ssh.NewServerConn(far, config)
		if err != nil {
			return
		}
		go func() {
			for c := range channels {
				_ = c.Reject(ssh.Prohibited, "")
			}
		}()
		server(conn, requests)
	}()
	conn, channels, requests, err := ssh.NewClientConn(near, "host:22", &ssh.ClientConfig{User: "ops", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(settings{alias: "host", user: "ops", port: 22})
	h.chain = []*ssh.Client{ssh.NewClient(conn, channels, requests)}
	h.watch()
	return h
}

func TestAHostThatIsGoneIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		h := pipedHost(t, func(_ *ssh.ServerConn, requests <-chan *ssh.Request) {
			<-ended
			ssh.DiscardRequests(requests)
		})
		time.Sleep(2*keepAliveEvery - time.Second)
		if err := h.over(t.Context()); err != nil {
			t.Errorf("given up too early: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := h.over(t.Context()); err == nil {
			t.Error("nobody notices that the host has gone")
		}
		close(ended)
		_ = h.Close()
	})
}

func TestAHostThatIsThereIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		h := pipedHost(t, func(_ *ssh.ServerConn, requests <-chan *ssh.Request) {
			for r := range requests {
				asked.Add(1)
				_ = r.Reply(false, nil)
			}
		})
		time.Sleep(10*keepAliveEvery + time.Second)
		if err := h.over(t.Context()); err != nil || asked.Load() != 10 {
			t.Errorf("asked %d times whether it is there: %v", asked.Load(), err)
		}
		_ = h.Close()
	})
}
