package reconciler

import (
	"fmt"
	"time"

	"kita/reconciler/plan"
	"kita/spec"
)

// fact is something that happened to a child, in its mailbox until the next
// pass. fold tells whether it was news.
type fact interface {
	fmt.Stringer
	fold(o *plan.Observed, d spec.Desired, now time.Time) bool
}

type exitedFact struct {
	exit  spec.Exit
	empty bool
}

type emptiedFact struct{ incarnation uint64 }

type strayedFact struct {
	incarnation uint64
	pids        []int
	suspected   bool
}

type wroteFact struct{ last spec.LastLines }

type outputFaultFact struct {
	incarnation uint64
	lines       []string
}

type hookFact struct {
	kind    plan.HookKind
	ticket  plan.Ticket
	message string
}

// repeatFact arms a repeat again after its action was refused.
type repeatFact struct {
	incarnation uint64
	repeat      plan.Repeat
}

// passedOverFact is why the startup mode did not start a child.
type passedOverFact struct{ failure spec.Failure }

func (f exitedFact) fold(o *plan.Observed, _ spec.Desired, _ time.Time) bool {
	return o.Exited(f.exit, f.empty, jitter())
}

func (f emptiedFact) fold(o *plan.Observed, _ spec.Desired, _ time.Time) bool {
	return o.Emptied(f.incarnation)
}

func (f strayedFact) fold(o *plan.Observed, _ spec.Desired, _ time.Time) bool {
	return o.Strayed(f.incarnation, f.pids, f.suspected)
}

func (f wroteFact) fold(o *plan.Observed, _ spec.Desired, _ time.Time) bool {
	return o.Wrote(f.last)
}

func (f outputFaultFact) fold(o *plan.Observed, _ spec.Desired, _ time.Time) bool {
	return o.OutputFault(f.incarnation, f.lines)
}

func (f hookFact) fold(o *plan.Observed, d spec.Desired, now time.Time) bool {
	return o.HookDone(f.kind, f.ticket, f.message, d, jitter(), now)
}

func (f repeatFact) fold(o *plan.Observed, _ spec.Desired, _ time.Time) bool {
	return o.RepeatAgain(f.repeat, f.incarnation)
}

func (f passedOverFact) fold(o *plan.Observed, d spec.Desired, _ time.Time) bool {
	return o.PassedOver(f.failure, d)
}

func (f exitedFact) String() string {
	return fmt.Sprintf("#%d %v", f.exit.Incarnation, f.exit)
}
func (f emptiedFact) String() string { return fmt.Sprintf("#%d group empty", f.incarnation) }
func (f strayedFact) String() string { return fmt.Sprintf("#%d strays %v", f.incarnation, f.pids) }
func (f wroteFact) String() string {
	return fmt.Sprintf("#%d wrote %d lines at last", f.last.Incarnation, len(f.last.Lines))
}
func (f outputFaultFact) String() string {
	return fmt.Sprintf("#%d output faults %q", f.incarnation, f.lines)
}
func (f hookFact) String() string {
	return fmt.Sprintf("%s of #%d done %s", f.kind, f.ticket.Incarnation, f.message)
}
func (f passedOverFact) String() string { return f.failure.Message }
func (f repeatFact) String() string     { return fmt.Sprintf("#%d repeat again", f.incarnation) }

// Exited implements the Runtime's sink: the leader of a child ended.
func (r *Reconciler) Exited(child string, incarnation uint64, exit spec.Exit, empty bool) {
	exit.Incarnation = incarnation
	r.post(child, exitedFact{exit, empty})
}

// Emptied implements the Runtime's sink: what was left of the group has ended.
func (r *Reconciler) Emptied(child string, incarnation uint64) {
	r.post(child, emptiedFact{incarnation})
}

// Strayed implements the Runtime's sink: processes that may be of the run live on.
func (r *Reconciler) Strayed(child string, incarnation uint64, pids []int, suspected bool) {
	r.post(child, strayedFact{incarnation, pids, suspected})
}

// Wrote implements the Runtime's sink: a run has failed, and these are its last
// lines.
func (r *Reconciler) Wrote(child string, last spec.LastLines) {
	r.post(child, wroteFact{last})
}

// OutputFault implements the Runtime's sink: this is what is wrong with the output
// files of a run now, one line each; none where all is well.
func (r *Reconciler) OutputFault(child string, incarnation uint64, lines []string) {
	r.post(child, outputFaultFact{incarnation, lines})
}

// post puts a fact into a child's mailbox and asks for a pass.
func (r *Reconciler) post(name string, f fact) {
	r.mu.Lock()
	e := r.children[name]
	if e != nil {
		if e.mailbox == nil {
			e.mailbox = new([]fact)
		}
		*e.mailbox = append(*e.mailbox, f)
	}
	r.mu.Unlock()
	if e == nil {
		r.Observer.StaleFact()
		return
	}
	r.queue.Add(name)
}
