package sshd

import (
	"testing"

	"golang.org/x/crypto/ssh"
)

// What package ssh queues is got at by the names of its own fields.
func TestTheQueueIsFound(t *testing.T) {
	near, far := tcpPair(t)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(newKey(t))
	client := make(chan ssh.Conn, 1)
	go func() {
		conn, channels, requests, err := ssh.NewClientConn(near, "", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		if err != nil {
			t.Error(err)
			close(client)
			return
		}
		go ssh.DiscardRequests(requests)
		go func() {
			for range channels {
			}
		}()
		client <- conn
	}()
	conn, _, _, err := ssh.NewServerConn(far, config)
	if err != nil {
		t.Fatal(err)
	}
	if queueOf(conn.Conn) == nil {
		t.Error("a connection of this version of package ssh cannot be drained")
	}
	_ = conn.Close()
	drain(conn.Conn)
	if other := <-client; other != nil {
		_ = other.Close()
		_ = other.Wait()
	}
}
