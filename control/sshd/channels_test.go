package sshd

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestChannelsAreBounded(t *testing.T) {
	g := &fake{name: "ops"}
	p := connect(t, g, func(o *Options) { o.Channels = make(chan struct{}, MaxChannels+2) })
	open := func() error {
		ch, requests, err := p.client.OpenChannel("session", nil)
		if err == nil {
			go ssh.DiscardRequests(requests)
			_, _ = ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"kita"}))
		}
		return err
	}
	for range MaxChannels {
		if err := open(); err != nil {
			t.Fatal(err)
		}
	}
	var refused *ssh.OpenChannelError
	if err := open(); !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
		t.Errorf("one too many: %v", err)
	}
	for _, kind := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "x11", "auth-agent@openssh.com", "tun@openssh.com"} {
		if _, _, err := p.client.OpenChannel(kind, nil); !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, kind := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "keepalive@openssh.com"} {
		if ok, _, err := p.client.SendRequest(kind, true, nil); ok || err != nil {
			t.Errorf("%s: %t, %v", kind, ok, err)
		}
	}
	const nothing, port = ": kita forwards nothing: it serves commands and its own API only", "it asks to listen on a port of the server"
	g.wantRefused(t, `a channel of the kind "session": too many channels are open on this connection`,
		`a channel of the kind "direct-tcpip"`+nothing, `a channel of the kind "direct-streamlocal@openssh.com"`+nothing,
		`a channel of the kind "x11"`+nothing, `a channel of the kind "auth-agent@openssh.com"`+nothing,
		`a channel of the kind "tun@openssh.com"`+nothing, port, port)
}

func TestChannelsOfAllConnectionsAreBounded(t *testing.T) {
	p := connect(t, &fake{name: "ops"}, func(o *Options) { o.Channels = make(chan struct{}, 1) })
	first := p.session()
	var refused *ssh.OpenChannelError
	if _, _, err := p.client.OpenChannel("session", nil); !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
		t.Errorf("one too many: %v", err)
	}
	if err := first.Run("x"); status(err) != 3 {
		t.Error(err)
	}
	// The place is free again as soon as the server has seen that both closed it.
	for range 1000 {
		ch, requests, err := p.client.OpenChannel("session", nil)
		if err != nil {
			continue
		}
		go ssh.DiscardRequests(requests)
		_ = ch.Close()
		return
	}
	t.Error("the place of a channel that was closed is not free again")
}

func TestChannelsOfAKeyAreBounded(t *testing.T) {
	g := &fake{name: "ops", channels: make(chan struct{}, 1)}
	first, second := connect(t, g, nil), connect(t, g, nil)
	ch, requests, err := first.client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	var refused *ssh.OpenChannelError
	if _, _, err := second.client.OpenChannel("session", nil); !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage || !strings.Contains(refused.Message, "key") {
		t.Errorf("one too many: %v", err)
	}
	_ = ch.Close()
	_ = first.client.Close()
	first.end()
}

// What a command or nobody reads is read all the same: it would stay in memory.
func TestInputThatNobodyWantsIsRead(t *testing.T) {
	done := make(chan struct{})
	p := connect(t, &fake{exec: func(context.Context, string, io.Writer, io.Writer) int {
		<-done
		return 0
	}}, nil)
	s := p.session()
	stdin, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("wait"); err != nil {
		t.Fatal(err)
	}
	// More than the window, which is not opened again for what is not read.
	for range 100 {
		if _, err := stdin.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}
