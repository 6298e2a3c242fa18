package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	loopback   = "127.0.0.1:33889"
	userSocket = "/run/user/1000/kita/kita.sock"
	healthy    = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"status\":\"ok\"}\n"
	encrypted  = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n{\"code\":\"forbidden\"}\n"
)

// runs is an exec of a host where the look finds these lines, and other command
// lines do as programs say.
func runs(found []string, programs map[string]func(ssh.Channel) int) func(string, ssh.Channel) int {
	return func(line string, ch ssh.Channel) int {
		if program := programs[line]; program != nil {
			return program(ch)
		}
		if !strings.HasPrefix(line, "sh -c '") {
			fmt.Fprintf(ch.Stderr(), "sh: %s: not found\n", line)
			return 127
		}
		fmt.Fprintln(ch, "Welcome!")
		for _, f := range append(found, "end") {
			fmt.Fprintln(ch, "kita-look "+f)
		}
		return 0
	}
}

func TestWaysToKita(t *testing.T) {
	greets := map[string]func(rwc){rootSocket: says("hello")}
	proxies := func(ch ssh.Channel) int {
		fmt.Fprintln(ch.Stderr(), "a warning of the shell")
		fmt.Fprintln(ch.Stderr(), ProxyReady)
		says("hello")(ch)
		return 0
	}
	tests := []struct {
		name string
		host *fakeHost
		// opened are the channels of the first Open and of a second one.
		opened, again []string
		err           string
	}{
		{"the socket of root", &fakeHost{sockets: greets}, []string{rootSocket}, []string{rootSocket}, ""},
		{
			"the user's own socket",
			&fakeHost{sockets: map[string]func(rwc){userSocket: says("hello")}, exec: runs([]string{"socket /nowhere", "socket " + userSocket, "kita /usr/bin/kita"}, nil)},
			[]string{rootSocket, "session", "/nowhere", userSocket}, []string{userSocket}, "",
		},
		{
			"sockets are not forwarded",
			&fakeHost{ports: map[string]func(rwc){loopback: says(healthy + "hello")}, exec: runs([]string{"socket " + userSocket, "kita /usr/bin/kita"}, nil)},
			[]string{rootSocket, "session", loopback, loopback}, []string{loopback}, "",
		},
		{
			"commands are not run",
			&fakeHost{sockets: map[string]func(rwc){}, ports: map[string]func(rwc){loopback: says(healthy + "hello")}},
			[]string{rootSocket, "session", loopback, loopback}, []string{loopback}, "",
		},
		{
			"nothing is forwarded",
			&fakeHost{exec: runs([]string{"kita /opt/my kita/kita"}, map[string]func(ssh.Channel) int{"'/opt/my kita/kita' proxy --announce": proxies})},
			[]string{rootSocket, "session", loopback, "session"}, []string{"session"}, "",
		},
		{
			"the socket that was found",
			&fakeHost{sockets: map[string]func(rwc){}, exec: runs([]string{"socket " + userSocket, "kita /kita"}, map[string]func(ssh.Channel) int{"'/kita' proxy --announce --socket '" + userSocket + "'": proxies})},
			[]string{rootSocket, "session", userSocket, loopback, "session"}, []string{"session"}, "",
		},
		{
			"the server on loopback takes keys only",
			&fakeHost{
				ports: map[string]func(rwc){loopback: says(encrypted)},
				exec:  runs([]string{"kita /usr/bin/kita"}, map[string]func(ssh.Channel) int{"'/usr/bin/kita' proxy --announce": proxies}),
			},
			[]string{rootSocket, "session", loopback, "session"}, []string{"session"}, "",
		},
		{
			"kita there finds no server",
			&fakeHost{
				sockets: map[string]func(rwc){}, ports: map[string]func(rwc){loopback: says("no legal operations input")},
				exec: runs([]string{"kita /usr/bin/kita"}, map[string]func(ssh.Channel) int{"'/usr/bin/kita' proxy --announce": func(ch ssh.Channel) int {
					fmt.Fprintln(ch.Stderr(), "kita: no server answers on /run/kita/kita.sock, is kita serve running?")
					return 4
				}}),
			},
			[]string{rootSocket, "session", loopback, "session"}, nil,
			"no kita server could be reached there: /run/kita/kita.sock: no server answers there, or sshd may not forward to it; 127.0.0.1:33889: what answers there is no kita; " +
				"`/usr/bin/kita proxy` there: kita: no server answers on /run/kita/kita.sock, is kita serve running?",
		},
		{
			"nothing works",
			&fakeHost{},
			[]string{rootSocket, "session", loopback}, nil,
			"no kita server could be reached there: /run/kita/kita.sock: sshd forbids it; 127.0.0.1:33889: sshd forbids it; kita there: sshd does not let commands run",
		},
		{
			"only keys",
			&fakeHost{ports: map[string]func(rwc){loopback: says(encrypted)}, exec: runs(nil, nil)},
			[]string{rootSocket, "session", loopback}, nil,
			"127.0.0.1:33889: the server there takes keys only, ask it without ssh://: `on HOST with KEY`; kita is not installed there",
		},
		{
			// The port is left alone: it may be that of a supervisor-rs.
			"only the old program",
			&fakeHost{ports: map[string]func(rwc){loopback: says("no legal operations input")}, exec: runs([]string{"old /opt/supervisor-rs-client"}, nil)},
			[]string{rootSocket, "session"}, nil, "only supervisor-rs could be asked (/opt/supervisor-rs-client)",
		},
		{
			"the old program beside a kita without a server",
			&fakeHost{ports: map[string]func(rwc){loopback: says("no legal operations input")}, exec: runs([]string{"kita /kita", "old /old"}, nil)},
			[]string{rootSocket, "session", "session"}, nil, "only supervisor-rs could be asked (/old)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUser(t, nil)
			writeKey(t, u.path("id_ed25519"), newKey(t), "")
			host := tt.host.start(t)
			h := u.mustDial(t, host.target())
			conn, err := h.Open(t.Context())
			if _, opened := host.seen(); !slices.Equal(opened, tt.opened) {
				t.Errorf("opened %q, want %q", opened, tt.opened)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v\nwant %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := exchange(t, conn, "hi"); !strings.HasSuffix(got, "hello") {
				t.Errorf("got %q", got)
			}
			conn, err = h.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := exchange(t, conn, "hi"); !strings.HasSuffix(got, "hello") {
				t.Errorf("the second time got %q", got)
			}
			if _, opened := host.seen(); !slices.Equal(opened[len(tt.opened):], tt.again) {
				t.Errorf("the second time opened %q, want %q", opened[len(tt.opened):], tt.again)
			}
		})
	}
}

func TestOldProgram(t *testing.T) {
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), newKey(t), "")
	host := (&fakeHost{exec: runs([]string{"old /opt/it's/supervisor-rs-client"}, map[string]func(ssh.Channel) int{
		`'/opt/it'\''s/supervisor-rs-client' 'start' 'web; reboot'`: func(ch ssh.Channel) int {
			io.WriteString(ch, "Server 127.0.0.1:33889 response:\nstart web success\n")
			return 0
		},
		`'/opt/it'\''s/supervisor-rs-client' 'info'`: func(ch ssh.Channel) int {
			io.WriteString(ch.Stderr(), "connection refused\n")
			return 0
		},
	})}).start(t)
	h := u.mustDial(t, host.target())
	_, err := h.Open(t.Context())
	var only *OnlyOldError
	if !errors.As(err, &only) {
		t.Fatal(err)
	}
	if answer, err := h.RunOld(t.Context(), only, "start", "web; reboot"); err != nil || answer != "start web success" {
		t.Errorf("%q, %v", answer, err)
	}
	if answer, err := h.RunOld(t.Context(), only, "info"); err == nil || !strings.Contains(err.Error(), "says nothing: connection refused") {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestFloodsAreBounded: a program that never ends its output costs no memory
// and no time beyond the bounds.
func TestFloodsAreBounded(t *testing.T) {
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), newKey(t), "")
	flood := func(w io.Writer) {
		line := []byte(strings.Repeat("kita-look socket /x\n", 1000))
		for {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}
	host := (&fakeHost{exec: func(_ string, ch ssh.Channel) int { flood(ch); return 0 }}).start(t)
	h := u.mustDial(t, host.target())
	if _, err := h.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "the answer is longer than") {
		t.Errorf("error %v", err)
	}
	host = (&fakeHost{exec: runs([]string{"kita /kita"}, map[string]func(ssh.Channel) int{"'/kita' proxy --announce": func(ch ssh.Channel) int {
		flood(ch.Stderr())
		return 0
	}})}).start(t)
	h = u.mustDial(t, host.target())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := h.Open(ctx); err == nil {
		t.Error("a flood is a connection")
	}
}

// TestHostThatGoesSilent: what never answers costs its deadline only, and Close
// leaves nothing behind.
func TestHostThatGoesSilent(t *testing.T) {
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), newKey(t), "")
	gone := make(chan struct{})
	host := (&fakeHost{exec: func(string, ssh.Channel) int { <-gone; return 0 }}).start(t)
	t.Cleanup(func() { close(gone) })
	h := u.mustDial(t, host.target())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := h.Open(ctx)
	var network *NetworkError
	if !errors.As(err, &network) || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("error %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Open(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Open(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestHostGetsNothingBack: neither the agent nor a connection of the client's
// side is there for a host that was taken over.
func TestHostGetsNothingBack(t *testing.T) {
	u := newUser(t, map[string]string{"SSH_AUTH_SOCK": startAgent(t, agent.AddedKey{PrivateKey: newKey(t)})})
	results := make(chan error, 4)
	host := (&fakeHost{intrude: func(conn *ssh.ServerConn) {
		for _, kind := range []string{"auth-agent@openssh.com", "forwarded-tcpip", "x11", "session"} {
			_, _, err := conn.OpenChannel(kind, nil)
			results <- err
		}
	}}).start(t)
	u.mustDial(t, host.target())
	for range 4 {
		var refused *ssh.OpenChannelError
		if err := <-results; !errors.As(err, &refused) {
			t.Errorf("the host opens a channel: %v", err)
		}
	}
}

// TestCloseEndsOpenConnections: nobody has to close them first.
func TestCloseEndsOpenConnections(t *testing.T) {
	u := newUser(t, nil)
	writeKey(t, u.path("id_ed25519"), newKey(t), "")
	host := (&fakeHost{sockets: map[string]func(rwc){rootSocket: func(c rwc) { _, _ = io.Copy(io.Discard, c) }}}).start(t)
	h := u.mustDial(t, host.target())
	conn, err := h.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

func TestParseLook(t *testing.T) {
	tests := []struct {
		name string
		out  output
		want string
	}{
		{"all of it", output{out: []byte("motd\nkita-look socket /a b\r\nkita-look kita /k\nkita-look old /o\nkita-look end\n")}, "{[/a b] /k /o <nil>}"},
		{"no paths", output{out: []byte("kita-look socket a\nkita-look kita kita\nkita-look old \nkita-look end\n")}, "{[]   <nil>}"},
		{"too many", output{out: []byte(strings.Repeat("kita-look socket /a\n", 50) + "kita-look end\n")}, "{[/a /a /a /a]   <nil>}"},
		{"a shell that is none", output{err: []byte("This account is\nnot available.\n"), exit: 1}, "{[]   commands cannot be run there: not available.}"},
		{"a silent one", output{exit: 1}, "{[]   commands cannot be run there, exit status 1}"},
	}
	for _, tt := range tests {
		f := parseLook(tt.out)
		if got := fmt.Sprintf("{%v %s %s %v}", f.sockets, f.kita, f.old, f.err); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
