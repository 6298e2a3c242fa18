package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

const malformed = 10_000

// survivors run before a storm and must not notice it.
var survivors = map[string]string{
	"one":   "command: /bin/sleep 1000\n",
	"two":   "command: [/bin/sleep, \"1000\"]\nrestart: always\n",
	"three": "command: sh -c 'sleep 1000 & wait'\nrepeat: {action: stop, seconds: 86400}\n",
}

func startSurvivors(t *testing.T, in *instance) map[string]int {
	t.Helper()
	pids := map[string]int{}
	for name := range survivors {
		in.do(t, spec.VerbStart, name)
		pids[name] = pidOfView(in.mustAwait(t, name, isLive))
	}
	return pids
}

// answerWithin is the bound on an answer. A busy machine makes single answers
// later, whatever the server does, so each request is made until one answer
// comes within it, for as long as the tests' patience.
const answerWithin = time.Second

// checkSurvivors wants the same processes, and answers within a second. It takes
// them as bytes: what the race detector costs this test's JSON decoder is not
// the server's.
func (in *instance) checkSurvivors(t *testing.T, pids map[string]int) {
	t.Helper()
	for name, pid := range pids {
		v, err := in.client().Get(t.Context(), name)
		if err != nil || pidOfView(v) != pid || !in.isAlive(pid) {
			t.Errorf("%s was PID %d, and now: %s, %v", name, pid, describe(v), err)
		}
	}
	get := func(path string) error {
		status, _, err := in.http("unix", "GET", path, "", nil)
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	}
	for what, ask := range map[string]func() error{
		"check over the socket": func() error { return get("/v1/children") },
		"info over the socket":  func() error { return get("/v1/info") },
		"check by the old wire": func() error { _, err := in.exchange([]string{"check"}, true); return err },
		"start and stop": func() error {
			_, err := in.client().Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: "fresh"})
			return err
		},
	} {
		var tries []time.Duration
		for first := time.Now(); len(tries) == 0 || tries[len(tries)-1] > answerWithin; {
			if time.Since(first) > patience {
				t.Errorf("%s takes %v, more than %v each time", what, tries, answerWithin)
				break
			}
			begin := time.Now()
			if err := ask(); err != nil {
				t.Errorf("%s: %v", what, err)
				break
			}
			tries = append(tries, time.Since(begin))
		}
		t.Logf("%s: %v", what, tries)
	}
}

// TestMalformedFilesTouchNothing writes 10,000 malformed child files, in batches,
// into a load path of a server that runs children.
func TestMalformedFilesTouchNothing(t *testing.T) {
	files := copyOf(survivors)
	files["fresh"] = "command: /bin/sleep 1000\n"
	in := newServer(t, "", files)
	pids := startSurvivors(t, in)
	random := rand.New(rand.NewPCG(1, 2))
	const batch = 500
	for n := 0; n < malformed; n += batch {
		for i := n; i < n+batch; i++ {
			writeMalformed(t, random, in.path(fmt.Sprintf("children/junk%05d.yml", i)))
		}
		if _, err := in.client().List(t.Context()); err != nil {
			t.Fatalf("check after %d files: %v", n+batch, err)
		}
		if _, err := in.client().Get(t.Context(), "one"); err != nil {
			t.Fatalf("check one after %d files: %v", n+batch, err)
		}
	}
	// The server has seen the last of them.
	last := fmt.Sprintf("junk%05d", malformed-1)
	in.mustAwait(t, last, func(v spec.View) bool { return v.FileError != "" })
	out, err := in.client().Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: last})
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || refusal.Code != spec.InvalidFile {
		t.Errorf("start %s: %+v, %v", last, out, err)
	}
	in.checkSurvivors(t, pids)
}

func copyOf(m map[string]string) map[string]string {
	all := map[string]string{}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// soundFile has every kind of value a child's file can have.
const soundFile = `command: ["/bin/sleep", "1000"]
args: [--port, 80]
env: {PORT: 80, NAME: "x y"}
dir: /tmp
umask: 022
nice: 5
limits: {nofile: 1024}
stop: {signal: TERM, grace: 10s}
restart: {policy: on-failure, backoff: {initial: 1s, max: 30s, factor: 2}, success: [1, TERM]}
output:
  - stdout: out.log
    mode: create
repeat: {action: restart, seconds: 60}
hooks:
  - prehook: start one
  - posthook: start two
`

// writeMalformed writes a mutation of a sound file that is not valid any more;
// which ones those are, package spec says.
func writeMalformed(t *testing.T, random *rand.Rand, path string) {
	t.Helper()
	content := []byte(soundFile)
	for range 1000 {
		content = mutate(random, content)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := spec.LoadChild(filepath.Dir(path), path, nil); err != nil {
			return
		}
	}
	t.Fatalf("1000 mutations and still valid: %q", content)
}

var splices = []string{
	"\x00", "\xff\xfe", "\t", "{", "[", "]", "}", ": ", "- ", "\n", "&a ", "*a", "!!binary ", "|", ">", "%", "\"", "'",
	"command: x\n", "<<: *a\n", "...\n---\n", "~", "\u2028", "1e999", "-9223372036854775809", "? ", "#",
	strings.Repeat("[", 200), strings.Repeat("a", 5000), "&x [*x, *x]", "on", "null", "{{.}}", "\ufeff",
}

// mutate changes one thing: drops, doubles, swaps or flips bytes, or splices in
// something YAML has a meaning for.
func mutate(random *rand.Rand, content []byte) []byte {
	if len(content) == 0 || len(content) > 64<<10 {
		content = []byte(soundFile)
	}
	at := random.IntN(len(content))
	end := min(len(content), at+1+random.IntN(20))
	switch random.IntN(5) {
	case 0:
		return append(bytes.Clone(content[:at]), content[end:]...)
	case 1:
		return bytes.Join([][]byte{content[:end], content[at:end], content[end:]}, nil)
	case 2:
		other := bytes.Clone(content)
		other[at] ^= 1 << random.IntN(8)
		return other
	case 3:
		return bytes.Clone(content[:at])
	}
	splice := splices[random.IntN(len(splices))]
	return bytes.Join([][]byte{content[:at], []byte(splice), content[at:]}, nil)
}

// TestMalformedRequestsTouchNothing sends 10,000 malformed requests, 16 at a
// time, to the port and to the socket.
func TestMalformedRequestsTouchNothing(t *testing.T) {
	files := copyOf(survivors)
	files["fresh"] = "command: /bin/sleep 1000\n"
	in := newServer(t, "", files)
	pids := startSurvivors(t, in)
	var (
		next, answered, cut atomic.Int64
		workers             sync.WaitGroup
	)
	for range 16 {
		workers.Go(func() {
			for {
				n := next.Add(1)
				if n > malformed {
					return
				}
				ok, err := in.molest(n)
				if err != nil {
					t.Errorf("request %d: %v", n, err)
					return
				}
				if ok {
					answered.Add(1)
				} else {
					cut.Add(1)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d were answered, %d got nothing", answered.Load(), cut.Load())
	if answered.Load() < malformed/4 {
		t.Errorf("only %d of %d were answered", answered.Load(), malformed)
	}
	in.checkSurvivors(t, pids)
}

// requests to be mutated. None names a child that exists or `kill`, so that no
// mutation of them is a command that means something.
var requests = []string{
	"start nobody", "stop nobody", "check", "info", "restart nobody on x with y", "trystart nobody\x00\x00",
	"ops;\x01\x02\x03", "SSH-2.0-OpenSSH_9.2\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"GET /v1/children HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"GET /v1/children/nobody HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
	"POST /v1/children/nobody/start HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"no_wait\":true}",
	"POST /v1/children/nobody/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"POST /v1/validate HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nContent-Length: 99999999999999999999\r\n\r\n",
	"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

var requestSplices = []string{
	"\x00", "\xff", "\r\n", "\n", " ", ";", "HTTP/9.9", "%00", "../", "Host: x\r\n", "Content-Length: -1\r\n", "0x", "{", "}",
	strings.Repeat("A", 3000), strings.Repeat("X: y\r\n", 300), "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "Expect: 100-continue\r\n",
	"Transfer-Encoding: gzip\r\n", "Upgrade: h2c\r\n", "on", "with", "\u202e",
}

// molest sends malformed request n and tells whether it was answered. It ends
// with a half-close, a reset or a close. Only a deadline is an error: the server
// must end every connection whose other end has ended.
func (in *instance) molest(n int64) (answered bool, err error) {
	random := rand.New(rand.NewPCG(3, uint64(n)))
	request := []byte(requests[random.IntN(len(requests))])
	for range 1 + random.IntN(4) {
		at := random.IntN(len(request) + 1)
		switch random.IntN(4) {
		case 0:
			request = append(request[:at:at], request[min(len(request), at+random.IntN(8)):]...)
		case 1:
			if at < len(request) {
				request[at] ^= 1 << random.IntN(8)
			}
		default:
			splice := requestSplices[random.IntN(len(requestSplices))]
			request = append(request[:at:at], append([]byte(splice), request[at:]...)...)
		}
	}
	network, address := "tcp", in.tcp()
	if n%4 == 0 {
		network, address = "unix", in.socket()
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := conn.Write(request); err != nil {
		// The server may refuse before it has read all.
		return false, ifDeadline(err)
	}
	switch n % 8 {
	case 0, 1, 2, 3, 4, 5:
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			return false, err
		}
	case 6:
		if tcp, ok := conn.(*net.TCPConn); ok {
			return false, tcp.SetLinger(0) // what follows is a reset
		}
	case 7:
		return false, nil
	}
	got, err := io.ReadAll(conn)
	return len(got) > 0, ifDeadline(err)
}

// ifDeadline keeps the only error that is the server's fault.
func ifDeadline(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
