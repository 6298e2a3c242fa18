package control

import (
	"bufio"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"kita/spec"
)

// follow asks for the output of a child over TCP, and returns after the head of
// the answer.
func follow(t *testing.T, addr, child string) *bufio.Reader {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
	request := post("/v1/logs", `{"children":["`+child+`"],"follow":true}`)
	if _, err := io.WriteString(nc, strings.Replace(request, "HTTP/1.1", "HTTP/1.0", 1)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// A thousand clients follow, most of which never read, and some never read more
// than their sockets hold: those that do read get every line, commands are
// answered, and the end of the server waits for nobody.
func TestAThousandFollowers(t *testing.T) {
	const n, reading, blocked, lines = 1000, 50, 10, 30
	raiseDescriptors(t, 2*n+500)
	svc := testService()
	svc.Write("web", "", spec.Out)
	svc.Write("web2", "", spec.Out)
	s := newTCPServer(t, Options{Service: svc, MaxTCP: 2 * n, MaxWaiting: 2 * n, MaxWaitingPerAddress: 2 * n, MaxPerAddress: 2 * n})
	for range blocked {
		follow(t, s.addr, "web2")
	}
	svc.Write("web2", strings.Repeat(strings.Repeat("y", 1023)+"\n", 8<<10), spec.Out)
	readers := make([]*bufio.Reader, n-blocked)
	for i := range readers {
		readers[i] = follow(t, s.addr, "web")
	}
	var all sync.WaitGroup
	for i := range reading {
		all.Go(func() {
			for got := 0; got < lines; {
				text, err := readers[i].ReadString('\n')
				if err != nil {
					t.Errorf("follower %d after %d lines: %v", i, got, err)
					return
				}
				got += strings.Count(text, `x\n`)
			}
		})
	}
	for range lines {
		svc.Write("web", strings.Repeat("x", 999)+"\n", spec.Out)
	}
	all.Wait()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("%d followers: heap %d MiB, %d goroutines", n, memory.HeapInuse>>20, runtime.NumGoroutine())
	c := Dial(Target{TCP: s.addr})
	defer c.Close()
	if _, err := c.Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "a"}); err != nil {
		t.Errorf("a command: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("the end: %v", err)
	}
}
