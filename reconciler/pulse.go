package reconciler

import (
	"fmt"
	"strings"

	"kita/spec"
)

// Moves tells whether the loop is alive: its mutex can be had, which is waited
// for, and where children wait for a pass one has been done since done. It returns
// how many have been done by now.
func (r *Reconciler) Moves(done uint64) (now uint64, moves bool) {
	r.mu.Lock()
	//lint:ignore SA2001 that it can be had is the proof
	r.mu.Unlock()
	now, waiting := r.queue.progress()
	return now, waiting == 0 || now != done
}

// Changes gets a token when a status has changed since the last one was taken,
// until stop is called.
func (r *Reconciler) Changes() (changes <-chan struct{}, stop func()) {
	w := &watcher{wake: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers[w] = struct{}{}
	return w.wake, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
	}
}

// Headcount says in a line how many children run, and what is amiss.
func (r *Reconciler) Headcount() string {
	alive, running, wanted, all := 0, 0, 0, 0
	phases := map[spec.Phase]int{}
	r.mu.Lock()
	ending := r.ending
	for _, e := range r.children {
		all++
		if e.status.Alive() {
			alive++
		}
		phases[e.status.Phase]++
		// Of those that are wanted alone: what is to be stopped runs until its turn comes.
		// A job that is done is not missed.
		if e.desired.Run == spec.Running && e.status.Phase != spec.PhaseExited {
			wanted++
			if e.status.Phase == spec.PhaseRunning {
				running++
			}
		}
	}
	r.mu.Unlock()
	var parts []string
	for _, p := range []struct {
		phase spec.Phase
		words string
	}{{spec.PhaseStarting, "starting"}, {spec.PhaseBackOff, "in back-off"}, {spec.PhaseFailed, "failed"}, {spec.PhaseStopping, "being stopped"}} {
		if n := phases[p.phase]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, p.words))
		}
	}
	head := fmt.Sprintf("%d of %d wanted children run", running, wanted)
	if wanted == 0 {
		head = fmt.Sprintf("no child is wanted, %d are known", all)
	}
	if ending {
		head = fmt.Sprintf("ending, %d children still run", alive)
		parts = nil
	}
	return strings.Join(append([]string{head}, parts...), ", ")
}
