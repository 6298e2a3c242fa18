package control

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/spec"
)

// raiseDescriptors lets this process have n descriptors.
func raiseDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	if limit.Max < n {
		t.Skipf("%d descriptors are needed, %d may be had", n, limit.Max)
	}
	limit.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// stalls are what clients have sent that say nothing more.
func stalls() [][]byte {
	const banner = "SSH-2.0-stalled\r\n"
	return [][]byte{
		nil,
		[]byte("SSH-2."),
		[]byte(banner),
		append([]byte(banner), kexInit()...),
		append([]byte(banner), kexInit()[:20]...),
		[]byte("GET /v1/chil"),
		[]byte("GE"),
	}
}

// stalledClients are connections that stall, some of which send a byte now and
// then.
type stalledClients struct {
	conns []net.Conn
	end   chan struct{}
	done  sync.WaitGroup
}

func stall(t *testing.T, addr string, n int) *stalledClients {
	t.Helper()
	s := &stalledClients{conns: make([]net.Conn, n), end: make(chan struct{})}
	var dialing sync.WaitGroup
	const parallel = 16
	for worker := range parallel {
		dialing.Go(func() {
			for i := worker; i < n; i += parallel {
				nc, err := net.DialTimeout("tcp", addr, 30*time.Second)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				s.conns[i] = nc
				// One that had to give way is closed, and cannot be written to.
				_, _ = nc.Write(stalls()[i%len(stalls())])
			}
		})
	}
	dialing.Wait()
	s.done.Go(s.trickle)
	t.Cleanup(s.close)
	return s
}

// trickle sends a byte at a time on those that have begun a banner.
func (s *stalledClients) trickle() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for i := 1; i < len(s.conns); i += len(stalls()) {
				if nc := s.conns[i]; nc != nil {
					_, _ = nc.Write([]byte("x"))
				}
			}
		case <-s.end:
			return
		}
	}
}

func (s *stalledClients) close() {
	select {
	case <-s.end:
		return
	default:
		close(s.end)
	}
	s.done.Wait()
	for _, nc := range s.conns {
		if nc != nil {
			_ = nc.Close()
		}
	}
}

// waitClosed returns when the server has closed each connection.
func (s *stalledClients) waitClosed(t *testing.T) {
	t.Helper()
	for i, nc := range s.conns {
		_ = nc.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, nc); err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Fatalf("connection %d (%q) is never closed", i, stalls()[i%len(stalls())])
			}
		}
	}
}

// Two thousand clients say nothing, or next to nothing, and a command is
// answered; then all of them are gone.
func TestStalledConnections(t *testing.T) {
	const n = 2000
	raiseDescriptors(t, 2*n+500)
	h := newSSHHouse(t, Options{
		Exec: echo, Encrypt: true, Timing: Timing{Request: 6 * time.Second},
		MaxTCP: 2 * n, MaxWaiting: 2 * n, MaxWaitingPerAddress: 2 * n, MaxPerAddress: 2 * n,
	})
	key := h.admit(t, "ops")
	// The audit log is opened later, and the runtime has some of its own.
	fds := descriptors(t)
	clients := stall(t, h.addr, n)
	// On a slow machine the first ones are dropped before the last ones come.
	until(t, "the connections are accepted", func() bool { return h.Stats().Open > n/2 })

	start := time.Now()
	client := h.mustLogin(t, key)
	if _, err := h.ask(t, client).Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "a"}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	open := h.Stats().Open
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("while %d connections stall, connecting and a command take %v; heap %d KiB, %d goroutines", open-1, took, memory.HeapInuse>>10, runtime.NumGoroutine())
	if open < n/4 {
		t.Errorf("only %d connections stall", open-1)
	}
	clients.waitClosed(t)
	until(t, "no connection is left but one", func() bool { return h.Stats().Open == 1 })
	if stats := h.Stats(); stats.Refused+stats.Displaced+stats.Panics != 0 {
		t.Errorf("stats %+v", stats)
	}
	clients.close()
	_ = client.Close()
	until(t, "no descriptor is left", func() bool { return h.Stats().Open == 0 && descriptors(t) <= fds+8 })
	h.wantAudit(t, `"timed-out"`, "stalled", "6s")
}

// With the caps as they are by default the flood pushes out its own: who comes
// from its very address is still served, and so is everybody else.
func TestAFloodPushesOutItsOwn(t *testing.T) {
	const n = 2000
	raiseDescriptors(t, 2*n+500)
	h := newSSHHouse(t, Options{Exec: echo})
	key := h.admit(t, "ops")
	stall(t, h.addr, n)
	until(t, "the connections are accepted", func() bool {
		stats := h.Stats()
		return stats.Open == defaultMaxWaitingPerAddress && stats.Displaced == n-defaultMaxWaitingPerAddress
	})
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}
		nc, err := dialer.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, channels, requests, err := ssh.NewClientConn(nc, h.addr, &ssh.ClientConfig{
			User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(h.hostKey),
		})
		if err != nil {
			t.Fatalf("from %s: %v", from, err)
		}
		client := ssh.NewClient(conn, channels, requests)
		if _, err := h.ask(t, client).List(context.Background()); err != nil {
			t.Errorf("from %s: %v", from, err)
		}
		_ = client.Close()
	}
	text, err := os.ReadFile(h.audit)
	if lines := bytes.Count(text, []byte("\n")); err != nil || lines > refusalBurst+60 {
		t.Errorf("the flood has left %d lines, %v", lines, err)
	}
}
