package chaos

import (
	"context"
	"testing"
	"time"
)

// probe asks one question after the other and measures how long each takes,
// from the first try to the answer, however often the instance is down in
// between.
type probe struct {
	in *instance
	// The fields below belong to run until it has returned.
	slowest  time.Duration
	answers  int
	overload time.Duration

	// patient: the fault takes the answers away for longer than that.
	patient bool
}

func (p *probe) run(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		due := time.Now().Add(2 * time.Millisecond)
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		// What the machine itself is late by, as a measure of its load.
		p.overload = max(p.overload, time.Since(due))
		p.question(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *probe) question(ctx context.Context) {
	begin := time.Now()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		status, _, err := p.in.ask("GET", "/v1/info", "", patience)
		if err == nil && status == 200 {
			break
		}
		select {
		case <-ctx.Done():
			return // nobody says when it would have come
		case <-again.C:
		}
	}
	took := time.Since(begin)
	p.answers++
	p.slowest = max(p.slowest, took)
}

// judge fails the test if an answer took more than a second. On a machine that
// runs the harness itself late, an answer that passes through several processes
// may be late by several times that.
func (p *probe) judge(t *testing.T, c *trial) {
	t.Helper()
	limit := quickly + 5*p.overload
	if p.slowest > limit && !p.patient || p.answers == 0 {
		t.Errorf("the slowest of %d answers took %v, more than %v", p.answers, p.slowest, limit)
	}
	c.measure("slowest answer %d ms (machine late by %d ms)", p.slowest.Milliseconds(), p.overload.Milliseconds())
}
