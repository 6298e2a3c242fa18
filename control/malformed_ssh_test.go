package control

import (
	"bytes"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/spec"
)

// recording keeps what a client writes.
type recording struct {
	net.Conn
	mu      sync.Mutex
	written bytes.Buffer // owned by mu
}

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.written.Write(p)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// recordLogin is all that a client sends that logs in and asks for something.
func recordLogin(t *testing.T, h *sshHouse, key ssh.Signer) []byte {
	t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{Conn: nc}
	conn, channels, requests, err := ssh.NewClientConn(r, h.addr, &ssh.ClientConfig{
		User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(h.hostKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(conn, channels, requests)
	if _, err := h.ask(t, client).List(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.written.Bytes())
}

// kexInit is the first packet of a client: what it sends when it goes on to say
// nothing.
func kexInit() []byte {
	lists := func(names ...string) []byte {
		var b []byte
		for _, name := range names {
			b = append(b, ssh.Marshal(struct{ List string }{name})...)
		}
		return b
	}
	payload := append([]byte{20}, make([]byte, 16)...)
	payload = append(payload, lists("curve25519-sha256", "ssh-ed25519", "aes128-gcm@openssh.com", "aes128-gcm@openssh.com", "", "", "none", "none", "", "")...)
	payload = append(payload, 0, 0, 0, 0, 0)
	padding := 8 - (5+len(payload))%8 + 8
	packet := ssh.Marshal(struct {
		Length  uint32
		Padding byte
	}{uint32(1 + len(payload) + padding), byte(padding)})
	return append(append(packet, payload...), make([]byte, padding)...)
}

const banner = "SSH-2.0-OpenSSH_9.9\r\n"

// unanswered are many packets of a kind that need no answer: IGNORE (2),
// UNIMPLEMENTED (3) and DEBUG (4).
func unanswered(kind byte) []byte {
	packet := append([]byte{0, 0, 0, 12, 10, kind}, make([]byte, 10)...)
	return append([]byte(banner), bytes.Repeat(packet, 20)...)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// storm sends ten thousand requests that are mutations of the good ones, a
// quarter of them from clients that vanish, and waits until the heap is within
// 5 MiB of what it was after the first five hundred, which it returns.
func storm(t *testing.T, s *tcpServer, good [][]byte) (before uint64) {
	t.Helper()
	run := func(total uint64) {
		seeds := make(chan uint64)
		var senders sync.WaitGroup
		for range 32 {
			senders.Go(func() {
				for seed := range seeds {
					send(t, s.addr, mutate(good[seed%uint64(len(good))], seed), seed/uint64(len(good))%4)
				}
			})
		}
		for seed := range total {
			seeds <- seed
		}
		close(seeds)
		senders.Wait()
		until(t, "every connection is closed", func() bool { return s.Stats().Open == 0 })
	}
	run(500)
	before = heap()
	run(10_000)
	// What ends with a connection may end a moment after it.
	until(t, "the heap is as it was", func() bool { return heap() < before+5<<20 })
	if panics := s.Stats().Panics; panics != 0 {
		t.Errorf("%d panics", panics)
	}
	return before
}

// Ten thousand handshakes that are replayed, mutated or made up, a quarter of
// them from clients that vanish, and then the server is as it was before.
func TestMalformedHandshakes(t *testing.T) {
	h := newSSHHouse(t, Options{Encrypt: true, Timing: Timing{
		Request: 100 * time.Millisecond, Quiet: time.Millisecond, Patience: time.Millisecond, Linger: 20 * time.Millisecond,
	}})
	// Nobody is in a hurry in the other house.
	other := newSSHHouse(t, Options{})
	login := recordLogin(t, other, other.admit(t, "ops"))
	noise := rand.NewChaCha8([32]byte{1})
	random := make([]byte, 1<<10)
	_, _ = noise.Read(random)
	good := [][]byte{
		login, login[:200],
		append([]byte(banner), kexInit()...),
		append([]byte(banner), random...),
		append(append([]byte(banner), kexInit()...), random...),
		append([]byte("SSH-"), bytes.Repeat([]byte("x"), 300)...),
		[]byte("SSH-1.99-x\r\n\x00\x00\x00\x0c\x0a\x15"),
		append([]byte("ops;"), random[:256]...),
		unanswered(2), unanswered(3), append(append([]byte(banner), kexInit()...), unanswered(4)[len(banner):]...),
	}
	before := storm(t, h.tcpServer, good)
	t.Logf("the heap went from %d KiB to %d KiB", before>>10, heap()>>10)
	key := h.admit(t, "ops")
	var client *ssh.Client
	until(t, "a client is quick enough", func() bool {
		var err error
		client, err = h.login(t, key)
		return err == nil
	})
	if _, err := h.ask(t, client).Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "a"}); err != nil {
		t.Error(err)
	}
}

// Clients whose packets need no answer are pushed out like others that stall,
// and hold up nothing: the house of a test closes within seconds or fails, and
// goroutines that are left fail the package.
func TestUnansweredPacketsHoldNothing(t *testing.T) {
	for name, opt := range map[string]Options{
		"until the deadline":  {Timing: Timing{Request: 50 * time.Millisecond}},
		"until they give way": {MaxWaitingPerAddress: 2, Timing: Timing{Request: time.Hour}},
		"until it closes":     {Timing: Timing{Request: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 20
			h := newSSHHouse(t, opt)
			for range n {
				_, _ = h.dial(t).Write(unanswered(2))
			}
			switch {
			case opt.MaxWaitingPerAddress > 0:
				until(t, "all but the last ones are closed", func() bool { return h.Stats().Displaced == n-2 && h.Stats().Open == 2 })
			case opt.Timing.Request < time.Minute:
				h.wantAudit(t, `"timed-out"`, "stalled")
				until(t, "all are closed", func() bool { return h.Stats().Open == 0 })
			default:
				until(t, "all are open", func() bool { return h.Stats().Open == n })
			}
		})
	}
}
