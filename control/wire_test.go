package control

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kita/control/legacy"
)

// The rows of the wire's table, whose answers package legacy tests; here it is
// that each arrives whole however it is cut.
var wireRows = []struct{ request, want string }{
	{"start b", "start b success"},
	{"start a", "Cannot start this child a, it already exsits"},
	{"start x", "Cannot found 'x' file in load path"},
	{"start all", `"all" is reserved keywords, cannot run child named "all"`},
	{"restart a", "restart a success"},
	{"stop a", "stop a success"},
	{"stop all", "stop all success"},
	{"stop b on 10.0.0.1 with k", "b not exsit, cannot stop"},
	{"start web2", "start web2 success"},
	{"TryStart b", "Start b success "},
	{"trystart a", "This child already start, stop it first. Stop a success, start it again. Start a success "},
	{"check x", "==Check Results Below==\n"},
	{"info x", "==Server Info Below==\n=======================\n"},
	{"kill", "I am dying. last error: \n"},
	{"start", "you have to give which child you want to start"},
	{"stop", "you have to give which child you want to stop"},
	{"stop stop", "child name cannot be command"},
	{"stop a on", "prep & obj arguments number should be even"},
	{"stop a at b", "does not support at"},
	{"garbage", "no legal operations input"},
	{"\xff\xfe", "no legal operations input"},
	{"GET web", "no legal operations input"},
	{"-h", "not support"},
}

func TestTextRequestsInOddSegments(t *testing.T) {
	cuts := []struct {
		name string
		cut  func(string) []string
		// pause lies between the segments and is shorter than Timing.Quiet.
		pause     time.Duration
		halfClose bool
	}{
		{"at once", func(s string) []string { return []string{s} }, 0, false},
		{"at once, half-closed", func(s string) []string { return []string{s} }, 0, true},
		{"byte by byte", letters, 99 * time.Millisecond, false},
		{"byte by byte, half-closed", letters, 99 * time.Millisecond, true},
		{"in the middle", func(s string) []string { return []string{s[:len(s)/2], s[len(s)/2:]} }, 99 * time.Millisecond, false},
		{"with NULs", func(s string) []string { return []string{s, strings.Repeat("\x00", 100)} }, 0, false},
		{"with a newline", func(s string) []string { return []string{s, "\n"} }, 0, false},
	}
	for _, cut := range cuts {
		t.Run(cut.name, func(t *testing.T) {
			for _, row := range wireRows {
				synctest.Test(t, func(t *testing.T) {
					p := newPipeServer(Options{})
					if got := p.dial(t).say(t, cut.pause, cut.halfClose, cut.cut(row.request)...); got != row.want {
						t.Errorf("%q: %q, want %q", row.request, got, row.want)
					}
					p.end(t)
				})
			}
		})
	}
}

// Gaps longer than any silence are no end where the grammar knows better.
func TestTextRequestsWithLongGaps(t *testing.T) {
	tests := []struct {
		pause time.Duration
		parts []string
		want  string
	}{
		{5 * time.Second, []string{"sta", "rt b"}, "start b success"},
		{3 * time.Second, []string{"S", "t", "o", "p a"}, "stop a success"},
		{900 * time.Millisecond, []string{"start", " ", "b"}, "start b success"},
		{900 * time.Millisecond, []string{"start we", "b"}, "start web success"},
		{900 * time.Millisecond, []string{"stop al", "l"}, "stop all success"},
		{900 * time.Millisecond, []string{"stop a on", " h"}, "stop a success"},
		// What makes sense is not waited for.
		{0, []string{"stop a"}, "stop a success"},
		// Nobody completes these.
		{0, []string{"sta"}, "no legal operations input"},
		{0, []string{"GET"}, "no legal operations input"},
		{0, []string{"SSH"}, "no legal operations input"},
		{0, []string{"start"}, "you have to give which child you want to start"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			p := newPipeServer(Options{})
			if got := p.dial(t).say(t, tt.pause, false, tt.parts...); got != tt.want {
				t.Errorf("%q: %q, want %q", tt.parts, got, tt.want)
			}
			p.end(t)
		})
	}
}

func TestSilencesAreAsLongAsTheyMustBe(t *testing.T) {
	for request, want := range map[string]time.Duration{
		"stop a": 100 * time.Millisecond, "stop a\n": 0, "start": time.Second, "sta": 10 * time.Second, "GE": 10 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPipeServer(Options{})
			start := time.Now()
			p.dial(t).say(t, 0, false, request)
			if took := time.Since(start); took != want {
				t.Errorf("%q took %v, want %v", request, took, want)
			}
			p.end(t)
		})
	}
}

func TestConnectionsThatSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{})
		start := time.Now()
		if got := p.dial(t).say(t, 0, false); got != "" || time.Since(start) != 10*time.Second {
			t.Errorf("%q after %v, want nothing after 10s", got, time.Since(start))
		}
		if got := p.dial(t).say(t, 0, true); got != "" {
			t.Errorf("half-closed at once: %q", got)
		}
		_ = p.dial(t).Close()
		synctest.Wait()
		if stats := p.Stats(); stats != (Stats{}) {
			t.Errorf("stats %+v", stats)
		}
		p.end(t)
	})
}

func TestTooLongTextRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{})
		got := p.dial(t).say(t, 0, false, "stop "+strings.Repeat("x", legacy.MaxPacket))
		if got != "the request is too long, the limit is 65536 bytes" {
			t.Errorf("answer %q", got)
		}
		p.end(t)
	})
}

func TestASlowTextRequestIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{})
		c := p.dial(t)
		var writer sync.WaitGroup
		writer.Go(func() {
			for {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(90 * time.Millisecond)
			}
		})
		start := time.Now()
		answer, _ := io.ReadAll(c)
		if took := time.Since(start); string(answer) != "no legal operations input" || took > 12*time.Second {
			t.Errorf("answer %q after %v", answer, took)
		}
		_ = c.Close()
		writer.Wait()
		p.end(t)
	})
}

func TestHTTPInOneByteSegments(t *testing.T) {
	const request = "POST /v1/children/b/start HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
	for _, pause := range []time.Duration{0, 50 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			p := newPipeServer(Options{})
			got := p.dial(t).say(t, pause, false, letters(request)...)
			if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, `"child":"b"`) {
				t.Errorf("answer %q", got)
			}
			p.end(t)
		})
	}
}

func TestHTTPAfterALongGapInTheMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{})
		got := p.dial(t).say(t, 4*time.Second, false, "G", "ET ", "/healthz HTTP/1.0\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.0 200 OK\r\n") {
			t.Errorf("answer %q", got)
		}
		p.end(t)
	})
}

func TestSlowLorisIsCutOff(t *testing.T) {
	tests := []struct{ name, head, want string }{
		{"in the header", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ", ""},
		{"in the body", "POST /v1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", "408 Request Timeout"},
		{"in a body that is not read", "POST /v1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", "415 Unsupported"},
		{"in a body without an end", "GET /v1/watch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n", "400 Bad Request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := testService()
				p := newPipeServer(Options{Service: svc})
				c := p.dial(t)
				var writer sync.WaitGroup
				writer.Go(func() {
					_, err := io.WriteString(c, tt.head)
					for ; err == nil; _, err = io.WriteString(c, " ") {
						time.Sleep(time.Second)
					}
				})
				start := time.Now()
				answer, _ := io.ReadAll(c)
				if took := time.Since(start); took > 15*time.Second || !strings.Contains(string(answer), tt.want) {
					t.Errorf("%q after %v", answer, took)
				}
				if got := svc.Commands(); len(got) != 0 {
					t.Errorf("commands %v", got)
				}
				_ = c.Close()
				writer.Wait()
				p.end(t)
			})
		})
	}
}

func TestSSHIsRefusedWithALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(Options{})
		if got := p.dial(t).say(t, time.Second, false, "SS", "H-2.0-OpenSSH_9.9\r\n"); got != noHostKey+": its log says why\r\n" {
			t.Errorf("answer %q", got)
		}
		p.end(t)
	})
}

func TestEncryptModeServesNothingPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		p := newPipeServer(Options{Service: svc, Encrypt: true})
		got := p.dial(t).say(t, 0, false, "stop all")
		if got != "Running on encrypt mode, need to dencrypt your command.\nCannot parse encrypt data" {
			t.Errorf("text: %q", got)
		}
		for _, path := range []string{"/healthz", "/v1/children", "/metrics"} {
			got = p.dial(t).say(t, 0, true, "GET "+path+" HTTP/1.0\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.0 403 Forbidden\r\n") || !strings.Contains(got, "encrypt mode") {
				t.Errorf("%s: %q", path, got)
			}
		}
		if commands := svc.Commands(); len(commands) != 0 {
			t.Errorf("commands %v", commands)
		}
		p.end(t)
	})
}

func FuzzSniff(f *testing.F) {
	for _, row := range wireRows {
		f.Add([]byte(row.request))
	}
	for _, seed := range []string{"GET / HTTP/1.1", "OPTIONS * H", "SSH-2.0", "POST", "PUT http://x", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, all []byte) {
		// Once decided, more bytes change nothing, so the cuts do not matter.
		decided := undecided
		for i := range len(all) + 1 {
			p := sniff(all[:i])
			if decided != undecided && p != decided {
				t.Errorf("%q is %v, %q is %v", all[:i-1], decided, all[:i], p)
			}
			decided = p
		}
		if final(all) == undecided {
			t.Errorf("%q stays undecided", all)
		}
	})
}
