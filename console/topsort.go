package console

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"kita/spec"
)

// sortColumn is what the children are sorted by.
type sortColumn int

const (
	byName sortColumn = iota
	byHost
	byPhase
	byCPU
	byMemory
	byRestarts
	byUptime
	sortColumns
)

func (s sortColumn) String() string {
	return [...]string{"name", "host", "phase", "cpu", "memory", "restarts", "uptime"}[s]
}

// compare has first what one looks for: what is wrong, what uses much, what was
// restarted often, what was started last.
func (s sortColumn) compare(a, b *child) int {
	switch s {
	case byHost:
		return cmp.Compare(a.key.host, b.key.host)
	case byPhase:
		return cmp.Compare(urgency(a), urgency(b))
	case byCPU:
		return cmp.Compare(number(b.cpu), number(a.cpu))
	case byMemory:
		return cmp.Compare(number(b.memory), number(a.memory))
	case byRestarts:
		return cmp.Compare(b.view.Status.Restarts, a.view.Status.Restarts)
	case byUptime:
		return startOf(b).Compare(startOf(a))
	}
	return 0
}

// urgent are the phases, those first that somebody should look at.
var urgent = []spec.Phase{spec.PhaseFailed, spec.PhaseBackOff, spec.PhaseStopping, spec.PhaseStarting, spec.PhaseExited, spec.PhaseStopped, spec.PhaseRunning}

func urgency(c *child) int { return slices.Index(urgent, c.view.Status.Phase) }

func startOf(c *child) (at time.Time) {
	if p := c.view.Status.Process; p != nil {
		at = p.StartedAt
	}
	return at
}

// isOld tells whether a server refuses because it does not know the question.
func isOld(err error) bool {
	var refusal *spec.Refusal
	return errors.As(err, &refusal) && refusal.Code == "no-such-path"
}
