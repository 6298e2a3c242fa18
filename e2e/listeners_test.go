package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestNoConnectionIsRefusedWhileTheServerIsDown kills the server under clients that
// connect all the time, over TCP and the unix socket. What it had accepted is lost
// with it; who connects afterwards waits for the next server.
func TestNoConnectionIsRefusedWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	in := newServer(t, "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
	in.mustAwait(t, "web", isLive)
	var clients sync.WaitGroup
	var over atomic.Bool
	var answered atomic.Int64
	for _, to := range [][2]string{{"tcp", in.tcp()}, {"unix", in.socket()}} {
		clients.Go(func() {
			for !over.Load() {
				status, err := askOnce(to[0], to[1])
				if err != nil {
					t.Errorf("%s: %v", to[0], err)
					return
				}
				if strings.HasPrefix(status, "HTTP/1.1 200") {
					answered.Add(1)
				}
			}
		})
	}
	for range 5 {
		before := answered.Load()
		if err := in.killServer(syscall.SIGKILL); err != nil {
			t.Error(err)
			break
		}
		eventually(t, "the next server answers", func() bool { return answered.Load() > before+4 })
	}
	over.Store(true)
	clients.Wait()
}

// askOnce fails only where nobody listens.
func askOnce(network, address string) (status string, err error) {
	nc, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(nc)
	return string(answer), nil
}

// TestAListenerGoesWithTheServerThatEnds: the keeper, which has the addresses too,
// does not keep them.
func TestAListenerGoesWithTheServerThatEnds(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", nil)
	if status, err := in.signal(syscall.SIGTERM); err != nil || status != 0 {
		t.Errorf("status %d, %v", status, err)
	}
	if _, err := os.Lstat(in.socket()); !os.IsNotExist(err) {
		t.Errorf("the socket: %v", err)
	}
	if _, err := askOnce("tcp", in.tcp()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s: %v", in.tcp(), err)
	}
	if err := in.serve(nil, nil); err != nil {
		t.Fatal(err)
	}
}

// TestANewAddressIsServedAfterACrash: what the keeper has holds only as long as
// server.yml says so.
func TestANewAddressIsServedAfterACrash(t *testing.T) {
	t.Parallel()
	in := newServer(t, "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
	web := pidOfView(in.mustAwait(t, "web", isLive))
	old, metrics := in.tcp(), in.addMetrics(t)
	config, err := os.ReadFile(in.path("server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.ReplaceAll(string(config), "metrics_addr: "+metrics+"\n", "port: 33890\n")
	if err := os.WriteFile(in.path("server.yml"), []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := in.killServer(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{old, metrics} {
		if _, err := askOnce("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s, which server.yml no longer has: %v", address, err)
		}
	}
	if got, want := in.info(t).Listeners[1], "tcp:"+in.addr+":33890"; got != want {
		t.Errorf("the server listens at %s, want %s", got, want)
	}
	if pid := pidOfView(in.mustAwait(t, "web", isLive)); pid != web {
		t.Errorf("web was PID %d, is %d", web, pid)
	}
	// And back, while the keeper has a dead listener of the metrics.
	if err := os.WriteFile(in.path("server.yml"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := in.killServer(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if status, err := askOnce("tcp", old); err != nil || !strings.HasPrefix(status, "HTTP/1.1 200") {
		t.Errorf("%s answers %q, %v", old, status, err)
	}
}

// TestAnAddressThatCannotBeHadDoesNotKeepTheNextServerAway: what server.yml has got
// while the server ran holds after a crash only if it works.
func TestAnAddressThatCannotBeHadDoesNotKeepTheNextServerAway(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from, to string // of a line of server.yml
		want     string
		// taken is a port of the instance's address that somebody else has.
		taken string
	}{
		"not of this host": {"listener_addr: ADDR", "listener_addr: 192.0.2.1",
			"listen: server.yml says 192.0.2.1:33889 by now, ADDR:33889 stays in use: listen: 192.0.2.1:33889: this host does not have that address", ""},
		"taken": {"listener_addr: ADDR", "listener_addr: ADDR\nport: 33891",
			"listen: server.yml says ADDR:33891 by now, ADDR:33889 stays in use: listen: ADDR:33891: address already in use, another server or supervisor-rs may be running", "33891"},
		"of the metrics": {"metrics_addr: ADDR:9100", "metrics_addr: 192.0.2.1:9100",
			"metrics_addr: server.yml says 192.0.2.1:9100 by now, ADDR:9100 stays in use: metrics_addr: 192.0.2.1:9100: this host does not have that address", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newServer(t, "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
			web := pidOfView(in.mustAwait(t, "web", isLive))
			metrics := in.addMetrics(t)
			if tt.taken != "" {
				ln, err := net.Listen("tcp", net.JoinHostPort(in.addr, tt.taken))
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
			}
			config, err := os.ReadFile(in.path("server.yml"))
			if err != nil {
				t.Fatal(err)
			}
			fill := func(text string) string { return strings.ReplaceAll(text, "ADDR", in.addr) }
			edited := strings.Replace(string(config), fill(tt.from), fill(tt.to), 1)
			if edited == string(config) {
				t.Fatalf("%q is not in\n%s", fill(tt.from), config)
			}
			// Twice: the keeper has the former listener, or another at its address.
			for range 2 {
				if err := os.WriteFile(in.path("server.yml"), []byte(edited), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := in.killServer(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if problems := in.info(t).Problems; !slices.Contains(problems, fill(tt.want)) {
					t.Errorf("problems %q, want %q", problems, fill(tt.want))
				}
				for _, address := range []string{in.tcp(), metrics} {
					if status, err := askOnce("tcp", address); err != nil || !strings.HasPrefix(status, "HTTP/1.1 ") {
						t.Errorf("%s answers %q, %v", address, status, err)
					}
				}
				if pid := pidOfView(in.mustAwait(t, "web", isLive)); pid != web {
					t.Errorf("web was PID %d, is %d", web, pid)
				}
			}
		})
	}
}

// TestAnAddressThatHoldsTheFormerOneIsServed: 0.0.0.0 cannot be bound beside it.
func TestAnAddressThatHoldsTheFormerOneIsServed(t *testing.T) {
	t.Parallel()
	in := newServer(t, "mode: full\n", map[string]string{"web": "command: sleep 1000\n"})
	config, err := os.ReadFile(in.path("server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	// A port that no other test has on any address.
	text := strings.Replace(string(config), "listener_addr: "+in.addr, "listener_addr: "+in.addr+"\nport: 33893", 1)
	for _, listen := range []string{text, strings.Replace(text, in.addr, "0.0.0.0", 1), text} {
		if err := os.WriteFile(in.path("server.yml"), []byte(listen), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := in.killServer(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		want := "tcp:" + in.addr + ":33893"
		if listen != text {
			want = "tcp:0.0.0.0:33893"
		}
		if got := in.info(t).Listeners[1]; got != want {
			t.Errorf("the server listens at %s, want %s", got, want)
		}
	}
}
