package control

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// mutate makes a request malformed, the same way for the same seed.
func mutate(good []byte, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 42))
	bad := bytes.Clone(good)
	for range 1 + r.IntN(4) {
		at := r.IntN(len(bad) + 1)
		switch r.IntN(6) {
		case 0:
			bad = bad[:at]
		case 1:
			bad = append(bad[:at:at], append([]byte{byte(r.IntN(256))}, bad[at:]...)...)
		case 2:
			if at < len(bad) {
				bad[at] ^= byte(1 << r.IntN(8))
			}
		case 3:
			bad = append(bad, bad[at:]...)
		case 4:
			bad = append(bad[at:], bad[:at]...)
		case 5:
			bad = append(bad[:at:at], append(bytes.Repeat([]byte{0xff, 0x00}, r.IntN(200)), bad[at:]...)...)
		}
	}
	return bad
}

// Ten thousand malformed requests, a quarter of them from clients that vanish
// without reading, and then the server answers as before.
func TestTenThousandMalformedRequests(t *testing.T) {
	good := [][]byte{
		[]byte("start b"), []byte("trystart web on 10.0.0.1 with k.pem"), []byte("check"), []byte("info all\n"),
		[]byte("GET /v1/children HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		[]byte("POST /v1/children/a/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"no_wait\": true}"),
		[]byte("SSH-2.0-OpenSSH_9.9\r\n"), []byte("ops;\x01\x02\x03"),
	}
	svc := testService()
	s := newTCPServer(t, Options{Service: svc, Timing: Timing{
		Quiet: time.Millisecond, Patience: time.Millisecond, Request: 50 * time.Millisecond, Idle: 50 * time.Millisecond, Linger: 50 * time.Millisecond,
	}})
	const total, parallel = 10_000, 32
	seeds := make(chan uint64)
	var senders sync.WaitGroup
	for range parallel {
		senders.Go(func() {
			for seed := range seeds {
				send(t, s.addr, mutate(good[seed%uint64(len(good))], seed), seed%4)
			}
		})
	}
	for seed := range uint64(total) {
		seeds <- seed
	}
	close(seeds)
	senders.Wait()

	if status, body := s.get(t, "/healthz"); status != 200 {
		t.Errorf("healthz: %d %s", status, body)
	}
	c := s.dial(t)
	_, _ = io.WriteString(c, "check nobody\n")
	if answer, err := io.ReadAll(c); string(answer) != "==Check Results Below==\n" {
		t.Errorf("text: %q, %v", answer, err)
	}
	if panics := s.Stats().Panics; panics != 0 {
		t.Errorf("%d panics", panics)
	}
}

// send is one client: it half-closes and reads, only reads, closes, or resets.
func send(t *testing.T, addr string, request []byte, manner uint64) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Errorf("dial: %v", err)
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	// Errors are expected: the server may be done before all is written.
	_, _ = nc.Write(request)
	conn := nc.(*net.TCPConn)
	switch manner {
	case 0:
		_ = conn.CloseWrite()
	case 2:
		return
	case 3:
		_ = conn.SetLinger(0)
		return
	}
	if _, err := io.ReadAll(nc); err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("%q is never closed", request)
		}
	}
}
