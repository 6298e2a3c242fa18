package control

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kita/control/controltest"
	"kita/spec"
)

// TestADefectDoesNotKeepTheServerFromEnding: a command that does not heed its
// context, and so never ends.
func TestADefectDoesNotKeepTheServerFromEnding(t *testing.T) {
	ends := map[string]func(context.Context, *Server){
		"close":     func(ctx context.Context, s *Server) { _ = s.Close(ctx) },
		"hand over": func(ctx context.Context, s *Server) { _, _ = s.HandOver(ctx) },
	}
	for name, end := range ends {
		synctest.Test(t, func(t *testing.T) {
			svc, never := testService(), make(chan struct{})
			svc.DoFunc = func(context.Context, spec.Command) (spec.Outcome, error) {
				<-never
				return spec.Outcome{}, nil
			}
			var log bytes.Buffer
			p := newPipeServer(Options{Service: svc, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			c := p.dial(t)
			_, _ = io.WriteString(c, "start a")
			time.Sleep(time.Second)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			end(ctx, p.Server)
			if took := time.Since(began); took > time.Second+lastWait {
				t.Errorf("%s takes %v", name, took)
			}
			if !strings.Contains(log.String(), "do not end") {
				t.Errorf("%s logs %q", name, log.String())
			}
			close(never)
			_ = c.Close()
			_ = p.ln.Close()
			p.served.Wait()
		})
	}
}

func TestKillComesAfterTheAnswer(t *testing.T) {
	for _, request := range []string{
		"kill",
		"POST /v1/kill HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			svc := testService()
			p := newPipeServer(Options{Service: svc})
			c := p.dial(t)
			_, _ = io.WriteString(c, request)
			// The pipe has no buffer: the answer is written when it is read.
			synctest.Wait()
			time.Sleep(time.Second)
			if kills := svc.Kills(); len(kills) != 0 {
				t.Errorf("killed by %v before the answer was read", kills)
			}
			answer, _ := io.ReadAll(c)
			synctest.Wait()
			if kills := svc.Kills(); len(kills) != 1 || kills[0] != "tcp:10.0.0.7" || len(answer) == 0 {
				t.Errorf("answer %q, kills %v", answer, kills)
			}
			_ = c.Close()
			p.end(t)
		})
	}
}

func TestAPanicIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		svc.DoFunc = func(context.Context, spec.Command) (spec.Outcome, error) { panic("a defect") }
		p := newPipeServer(Options{Service: svc})
		if got := p.dial(t).say(t, 0, false, "stop a"); got != "" {
			t.Errorf("text: %q", got)
		}
		got := p.dial(t).say(t, 0, false, "POST /v1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 500 ") || !strings.Contains(got, "urn:kita:internal-error") {
			t.Errorf("http: %q", got)
		}
		if got := p.dial(t).say(t, 0, false, "check x"); got != "==Check Results Below==\n" {
			t.Errorf("afterwards: %q", got)
		}
		synctest.Wait()
		if stats := p.Stats(); stats != (Stats{Panics: 2}) {
			t.Errorf("stats %+v", stats)
		}
		p.end(t)
	})
}

func TestCommandsAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		p := newPipeServer(Options{ObserveCommand: func(verb, result string) { heard = append(heard, verb+" "+result) }})
		for _, request := range []string{"start b", "start b", "check", "garbage", "stop x"} {
			p.dial(t).say(t, 0, false, request)
		}
		p.end(t)
		if got := strings.Join(heard, ", "); got != "start ok, start already-running, stop not-running" {
			t.Errorf("heard %s", got)
		}
	})
}

func TestCloseWaitsForAnswersInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		svc.DoFunc = func(context.Context, spec.Command) (spec.Outcome, error) {
			time.Sleep(3 * time.Second)
			return spec.Outcome{Verb: spec.VerbStop, Child: "a"}, nil
		}
		p := newPipeServer(Options{Service: svc})
		idle, text, api := p.dial(t), p.dial(t), p.dial(t)
		answers := make(chan string, 2)
		go func() { answers <- text.say(t, 0, false, "stop a\n") }()
		go func() {
			answers <- api.say(t, 0, false, "POST /v1/children/a/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n")
		}()
		time.Sleep(time.Second)
		p.end(t)
		for range 2 {
			if got := <-answers; got != "stop a success" && !strings.HasPrefix(got, "HTTP/1.1 200") {
				t.Errorf("answer %q", got)
			}
		}
		if rest, err := io.ReadAll(idle); len(rest) != 0 || err != nil {
			t.Errorf("the idle connection: %q, %v", rest, err)
		}
		_ = idle.Close()
	})
}

func TestCloseGivesUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		svc.DoFunc = func(ctx context.Context, _ spec.Command) (spec.Outcome, error) {
			<-ctx.Done()
			return spec.Outcome{}, ctx.Err()
		}
		p := newPipeServer(Options{Service: svc})
		text, api := p.dial(t), p.dial(t)
		_, _ = io.WriteString(text, "stop a\n")
		_, _ = io.WriteString(api, "POST /v1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if err := p.Close(ctx); err == nil {
			t.Error("no error although answers were given up")
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("gave up after %v", took)
		}
		p.served.Wait()
		if err := p.ServeTCP(t.Context(), newPipeListener()); err == nil {
			t.Error("a closed server serves")
		}
		_, _ = text.Close(), api.Close()
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Options{Service: controltest.New()})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := s.ServeTCP(ctx, newPipeListener()); err != nil {
			t.Errorf("serve: %v", err)
		}
		closeServer(t, s)
	})
}
