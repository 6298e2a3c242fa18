package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

// A wait for one host that is interrupted says what the server goes on with, and has
// its object in JSON.
func TestAnInterruptedWaitSaysWhatTheServerGoesOnWith(t *testing.T) {
	const state = ", (it is starting|nothing is known of it yet)"
	tests := []struct {
		name, words string
		by          syscall.Signal
		// unanswered: the signal comes before the answer to the command.
		unanswered bool
		want       string
	}{
		{"a command that was taken", "trystart web --wait exited=4", syscall.SIGINT, false,
			"^web: the command was interrupted before exited=4 was reached" + state + "; the server goes on with `trystart web`$"},
		{"by SIGTERM", "restart web --wait running", syscall.SIGTERM, false,
			"^web: the command was interrupted before running was reached" + state + "; the server goes on with `restart web`$"},
		{"a command without an answer", "trystart web --wait running", syscall.SIGINT, true,
			"^trystart web: the command was interrupted; whether the server has taken it is not known$"},
		{"a wait", "wait web --for exited", syscall.SIGINT, false,
			"^web: the command was interrupted before exited was reached" + state + "$"},
		{"a wait, by SIGTERM", "wait web --for stable=1h", syscall.SIGTERM, false,
			"^web: the command was interrupted before stable=1h0m0s was reached" + state + "$"},
	}
	for _, tt := range tests {
		for _, format := range []string{"text", "json"} {
			t.Run(tt.name+", "+format, func(t *testing.T) {
				// It is caught, for the command has been asked for.
				interrupt := func() { _ = syscall.Kill(os.Getpid(), tt.by) }
				svc := doing(func(ctx context.Context, c spec.Command) (spec.Outcome, error) {
					if tt.unanswered {
						interrupt()
						<-ctx.Done()
					}
					return answering(spec.PhaseStarting)(ctx, c)
				})
				svc.WatchFunc = func(ctx context.Context) <-chan spec.Change {
					changes := make(chan spec.Change, 2)
					v := spec.View{Name: "web", Desired: spec.Desired{Run: spec.Running, Generation: 1}}
					v.Status = spec.Status{Phase: spec.PhaseStarting, ObservedGeneration: 1, Process: &spec.Process{PID: 7, Incarnation: 1, StartedAt: time.Now()}}
					changes <- spec.Change{Type: spec.Present, View: v}
					changes <- spec.Change{Type: spec.Synced}
					interrupt()
					context.AfterFunc(ctx, func() { close(changes) })
					return changes
				}
				words := strings.Fields(tt.words)
				if format == "json" {
					words = append(words, "-o", format)
				}
				status, out, stderr := kita(serveFake(t, svc).socket, words...)
				said, _ := strings.CutPrefix(strings.TrimSuffix(stderr, "\n"), "kita: ")
				if !regexp.MustCompile(tt.want).MatchString(said) || status != exitFailed {
					t.Errorf("status %d, stderr %q, want %q", status, said, tt.want)
				}
				if format != "json" {
					if out != "" {
						t.Errorf("stdout %q", out)
					}
					return
				}
				var f failure
				if err := json.Unmarshal([]byte(out), &f); err != nil || f.Code != "interrupted" || f.Error != said {
					t.Errorf("%v, stdout %q", err, out)
				}
			})
		}
	}
}

// A signal that is ignored, as Ctrl-C is in what a script has put into the background,
// stays so; another one interrupts.
func TestAnIgnoredSignalStaysIgnored(t *testing.T) {
	signal.Ignore(os.Interrupt)
	defer func() {
		// Reset alone leaves it as one that is ignored.
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, os.Interrupt)
		signal.Stop(caught)
	}()
	ctx, stop := interruptible(t.Context(), heeded(os.Interrupt, syscall.SIGTERM)...)
	defer stop(nil)
	if !signal.Ignored(os.Interrupt) {
		t.Error("Ctrl-C is not ignored any more")
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	<-ctx.Done()
	if cause := context.Cause(ctx); cause != errCtrlC {
		t.Errorf("cause %v", cause)
	}
}
