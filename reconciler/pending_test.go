package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"kita/spec"
)

// doUntilHandover carries out a command, hands over once at holds, and returns
// what is pending as the next server reads it.
func (w *world) doUntilHandover(c spec.Command, at func() bool) spec.Pending {
	w.t.Helper()
	ctx, handOver := context.WithCancelCause(w.t.Context())
	defer handOver(nil)
	answer := make(chan error, 1)
	go func() {
		_, err := w.Do(ctx, c)
		answer <- err
	}()
	w.until("the command is under way", at)
	handOver(spec.ErrHandover)
	err := <-answer
	var pending *spec.PendingError
	if !errors.As(err, &pending) {
		w.t.Fatalf("%s %s at the handover: got %v, want a pending error", c.Verb, c.Child, err)
	}
	text, err := json.Marshal(pending.Pending)
	if err != nil {
		w.t.Fatal(err)
	}
	var p spec.Pending
	if err := json.Unmarshal(text, &p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

const stubborn = "command: sleep 1000\nstop: {grace: 300ms}\n"

func TestAStopIsWaitedForByTheNextServer(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": stubborn})
	w.runtime.ignores["a"] = true
	w.mustServe()
	w.want(spec.VerbStart, "a", "")
	p := w.doUntilHandover(spec.Command{Verb: spec.VerbStop, Child: "a", By: "test"}, func() bool { return w.phase("a") == spec.PhaseStopping })
	w.leave()
	w.mustServe()
	out, err := w.Resume(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if out.Verb != spec.VerbStop || out.Child != "a" || out.Generation != p.Generation || !out.WasRunning || out.Note == "" || out.Status.Alive() {
		t.Errorf("got %+v, want a stop that says who had to be killed", out)
	}
}

func TestAStopOfAllIsWaitedForByTheNextServer(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": stubborn, "b": "command: sleep 1000\n"})
	w.runtime.ignores["a"] = true
	w.mustServe()
	w.want(spec.VerbStart, "a", "")
	w.want(spec.VerbStart, "b", "")
	p := w.doUntilHandover(spec.Command{Verb: spec.VerbStop, Child: spec.All}, func() bool {
		return w.phase("a") == spec.PhaseStopping && w.phase("b") == spec.PhaseStopped
	})
	w.leave()
	w.mustServe()
	out, err := w.Resume(t.Context(), p)
	if err != nil || out.Child != spec.All || out.Note == "" {
		t.Errorf("got %+v, %v, want a success that says who had to be killed", out, err)
	}
	if w.phase("a") != spec.PhaseStopped || w.phase("b") != spec.PhaseStopped {
		t.Errorf("a is %s and b is %s", w.phase("a"), w.phase("b"))
	}
}

// The start waits for its prehook, which waits for a stop that takes its time.
func TestAStartBehindItsPrehookIsWaitedForByTheNextServer(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": stubborn, "b": "command: sleep 1000\nhooks: [{prehook: stop a}]\n"})
	w.runtime.ignores["a"] = true
	w.mustServe()
	w.want(spec.VerbStart, "a", "")
	p := w.doUntilHandover(spec.Command{Verb: spec.VerbStart, Child: "b"}, func() bool { return w.phase("a") == spec.PhaseStopping })
	w.leave()
	w.mustServe()
	out, err := w.Resume(t.Context(), p)
	if err != nil || out.Status.Process == nil || out.Prehook == nil {
		t.Errorf("got %+v, %v, want a process and its prehook", out, err)
	}
}

// What failed while nobody waited is told as it would have been.
func TestAFailureIsToldByTheNextServer(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": stubborn, "b": "command: sleep 1000\nhooks: [{prehook: stop a}]\n"})
	w.runtime.ignores["a"] = true
	w.mustServe()
	w.want(spec.VerbStart, "a", "")
	p := w.doUntilHandover(spec.Command{Verb: spec.VerbStart, Child: "b"}, func() bool { return w.phase("a") == spec.PhaseStopping })
	w.leave()
	w.runtime.failures["b"] = errors.New("no such file")
	w.mustServe()
	_, err := w.Resume(t.Context(), p)
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || refusal.Code != spec.CannotStart {
		t.Errorf("got %v, want %s", err, spec.CannotStart)
	}
}

func TestACommandOfAChildThatIsForgottenIsDone(t *testing.T) {
	w := newWorld(t, "", nil)
	w.mustServe()
	out, err := w.Resume(t.Context(), spec.Pending{Command: spec.Command{Verb: spec.VerbStop, Child: "a"}, Generation: 3, WasRunning: true})
	if err != nil || out.Generation != 3 || out.Status.Alive() {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestAClientThatLeavesIsNoHandover(t *testing.T) {
	w := newWorld(t, "", map[string]string{"a": stubborn})
	w.runtime.ignores["a"] = true
	w.mustServe()
	w.want(spec.VerbStart, "a", "")
	ctx, leave := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := w.Do(ctx, spec.Command{Verb: spec.VerbStop, Child: "a"})
		answer <- err
	}()
	w.until("the stop is under way", func() bool { return w.phase("a") == spec.PhaseStopping })
	leave()
	if err := <-answer; !errors.Is(err, context.Canceled) || errors.Is(err, spec.ErrHandover) {
		t.Errorf("got %v, want that of the context", err)
	}
}
