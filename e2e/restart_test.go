package e2e

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// TestChildrenOutliveTheServer ends the server in both ways and starts it again:
// what was wanted stays wanted, and what lives is adopted.
func TestChildrenOutliveTheServer(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			in := newServer(t, "mode: full\n", map[string]string{
				"lives":   "command: /bin/sleep 1000\n",
				"stopped": "command: /bin/sleep 1000\n",
				"ended":   "command: /bin/true\n",
				"again":   "command: sh -c '[ -e hold ] && exec sleep 1000; exit 3'\nrestart: {policy: always, backoff: {initial: 10ms, max: 20ms}}\n",
				"orphan":  "command: /bin/sleep 1000\n",
			})
			in.mustAwait(t, "lives", isLive)
			in.mustAwait(t, "stopped", isLive)
			in.do(t, spec.VerbRestart, "lives")
			lives := in.mustAwait(t, "lives", isLive)
			in.do(t, spec.VerbStop, "stopped")
			ended := in.mustAwait(t, "ended", func(v spec.View) bool { return v.Status.Phase == spec.PhaseExited })
			in.mustAwait(t, "again", func(v spec.View) bool { return v.Status.Restarts >= 2 })
			hold := in.path("children/hold")
			if err := os.WriteFile(hold, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			again := in.mustAwait(t, "again", func(v spec.View) bool { return v.Status.Phase == spec.PhaseRunning })
			orphan := in.mustAwait(t, "orphan", isLive)

			if status, err := in.signal(sig); err != nil || sig == syscall.SIGTERM && status != 0 {
				t.Fatalf("the server ended with status %d, %v", status, err)
			}
			if !in.isAlive(pidOfView(lives)) || !in.isAlive(pidOfView(orphan)) {
				t.Fatal("the end of the server has ended its children")
			}
			if _, err := killMarked(pidOfView(orphan), in.mark); err != nil {
				t.Fatal(err)
			}
			if err := in.serve(nil, nil); err != nil {
				t.Fatal(err)
			}

			in.checkTakenBack(t, before{lives, ended, again, hold})
		})
	}
}

// before is what the children were when the server ended.
type before struct {
	lives, ended, again spec.View
	// hold is the file that keeps again from ending.
	hold string
}

// checkTakenBack wants each child as it was left.
func (in *instance) checkTakenBack(t *testing.T, was before) {
	t.Helper()
	now := in.mustAwait(t, "lives", isLive)
	if pidOfView(now) != pidOfView(was.lives) || !now.Status.Process.Adopted || now.Status.Process.Incarnation != 2 {
		t.Errorf("lives was PID %d, is %+v", pidOfView(was.lives), now.Status.Process)
	}
	if now.Status.Starts != was.lives.Status.Starts || now.Desired.Generation != was.lives.Desired.Generation {
		t.Errorf("lives: starts %d, generation %d; before: %d, %d",
			now.Status.Starts, now.Desired.Generation, was.lives.Status.Starts, was.lives.Desired.Generation)
	}
	now = in.mustAwait(t, "stopped", func(spec.View) bool { return true })
	if now.Status.Phase != spec.PhaseStopped || now.Status.Starts != 1 || now.Desired.Run != spec.Stopped {
		t.Errorf("stopped by hand, and now: %s", describe(now))
	}
	now = in.mustAwait(t, "ended", func(spec.View) bool { return true })
	if now.Status.Phase != spec.PhaseExited || now.Status.Starts != was.ended.Status.Starts {
		t.Errorf("ended by itself, and now: %s", describe(now))
	}
	// The counters go on where they were, and so do the restarts.
	now = in.mustAwait(t, "again", isLive)
	if pidOfView(now) != pidOfView(was.again) || now.Status.Restarts != was.again.Status.Restarts || now.Status.Starts != was.again.Status.Starts {
		t.Errorf("again was %s, is %s", describe(was.again), describe(now))
	}
	if err := os.Remove(was.hold); err != nil {
		t.Fatal(err)
	}
	if _, err := killMarked(pidOfView(was.again), in.mark); err != nil {
		t.Fatal(err)
	}
	now = in.mustAwait(t, "again", func(v spec.View) bool {
		return v.Status.Restarts > was.again.Status.Restarts && v.Status.Starts > was.again.Status.Starts
	})
	if now.Status.Starts <= now.Status.Restarts {
		t.Errorf("again: %s", describe(now))
	}
	// What ended while no server ran is not started again by policy never,
	// and its end is not invented.
	now = in.mustAwait(t, "orphan", func(v spec.View) bool { return !v.Status.Alive() })
	if now.Status.Starts != 1 || now.Status.LastExit == nil || now.Status.LastExit.Known && now.Status.LastExit.Signal != spec.Signal(syscall.SIGKILL) {
		t.Errorf("killed while no server ran, and now: %s, %+v", describe(now), now.Status.LastExit)
	}
}

// TestKillEndsTheSession: after `kill` the startup mode decides again.
func TestKillEndsTheSession(t *testing.T) {
	t.Parallel()
	in := newServer(t, "mode: full\n", map[string]string{"web": "command: /bin/sleep 1000\n"})
	first := in.mustAwait(t, "web", isLive)
	if err := in.client().Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.killed = true
	if status, err := in.waitEnd(); err != nil || status != 0 {
		t.Fatalf("the server ended with status %d, %v", status, err)
	}
	if left := marked(in.mark); len(left) > 0 {
		t.Fatalf("left behind after kill: %v", left)
	}
	if err := in.serve(nil, nil); err != nil {
		t.Fatal(err)
	}
	second := in.mustAwait(t, "web", isLive)
	if a, b := first.Status.Process, second.Status.Process; b.Incarnation <= a.Incarnation || b.Adopted {
		t.Errorf("web was %+v, is %+v", a, b)
	}
}

// TestSecondServerIsRefused: two servers on one directory would fight over the
// children.
func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{"web": "command: /bin/sleep 1000\n"})
	in.do(t, spec.VerbStart, "web")
	before := in.mustAwait(t, "web", isLive)
	second := &instance{dir: in.dir, mark: in.mark, env: in.env, errName: "second.err"}
	if err := second.start(nil, nil); err != nil {
		t.Fatal(err)
	}
	status, err := second.waitEnd()
	if err != nil || status != 1 {
		t.Errorf("the second server ended with status %d, %v", status, err)
	}
	if after := in.mustAwait(t, "web", isLive); pidOfView(after) != pidOfView(before) {
		t.Errorf("web was PID %d, is %d", pidOfView(before), pidOfView(after))
	}
}

func isLive(v spec.View) bool { return v.Status.Alive() }

func pidOfView(v spec.View) int {
	if v.Status.Process == nil {
		return 0
	}
	return v.Status.Process.PID
}

func (in *instance) mustAwait(t *testing.T, name string, ok func(spec.View) bool) spec.View {
	t.Helper()
	v, err := in.await(name, ok)
	if err != nil {
		t.Fatal(fmt.Errorf("%w\n%s", err, in.logTail()))
	}
	return v
}
