package keeper

import (
	"strconv"
	"time"
)

// Timing is how patient a keeper is. Only tests have another than DefaultTiming.
type Timing struct {
	// Lived is the age from which the end of a server that was ready is taken
	// for an accident: the next one starts at once.
	Lived time.Duration
	// Steps are the pauses before a start after the ends that follow one
	// another faster. The last holds for all further ones of servers that
	// were ready at least.
	Steps []time.Duration
	// Longest is what the pause doubles up to while servers do not get ready.
	Longest time.Duration
	// Good is how long a server runs until its predecessors' troubles are
	// forgotten, and until an upgrade counts as one that succeeded.
	Good time.Duration
	// Ready is how long a new version may take until it serves.
	Ready time.Duration
	// Retry is the pause after an end that could not be written down.
	Retry time.Duration
}

// DefaultTiming is the Timing of every keeper but those of tests.
func DefaultTiming() Timing {
	return Timing{
		Lived:   time.Second,
		Steps:   []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond},
		Longest: 5 * time.Second,
		Good:    10 * time.Second,
		Ready:   3 * time.Second,
		Retry:   time.Second,
	}
}

const (
	// upgradeCrashes is how many servers of a new version may crash before the
	// old version comes back.
	upgradeCrashes = 3
	// endingCrashes is how many servers may crash after they were told to end
	// before the keeper gives up.
	endingCrashes = 3
)

// end is how a server ended.
type end struct {
	// code is the exit status, or -1 after a signal.
	code   int
	signal int
}

// status is end as a shell puts it in a number.
func (e end) status() int {
	if e.code < 0 {
		return 128 + e.signal
	}
	return e.code
}

// String is end in the words of the log.
func (e end) String() string {
	if e.code < 0 {
		return "killed by signal " + strconv.Itoa(e.signal)
	}
	return "status " + strconv.Itoa(e.code)
}

// policy decides what becomes of a keeper whose server did something. Times are
// those of its caller's clock; the zero time means never.
type policy struct {
	timing Timing

	// binary is what servers are started from; empty is the keeper's own.
	binary string

	// everReady: some server of this keeper was ready.
	everReady bool
	// ready is about the present server.
	ready     bool
	startedAt time.Time
	// quick and unready count ends in a row that came too soon: of servers
	// that were ready, and of those that were not.
	quick, unready int

	// meant: the server said that it ends, with this code.
	meant bool
	code  int
	// ending: the keeper was told to end; crashes after that are counted.
	ending        bool
	crashesEnding int

	// On watch after an upgrade, until goodAt; crashes since then.
	watching  bool
	crashes   int
	readyThen bool
	readyBy   time.Time
	goodAt    time.Time
	// before is what the upgrade changed, should it not take place.
	before *policy
}

// started notes that a server runs.
func (p *policy) started(now time.Time) {
	p.startedAt, p.ready, p.meant, p.before = now, false, false, nil
	p.goodAt = time.Time{}
	if p.watching && p.readyThen {
		p.readyBy = now.Add(p.timing.Ready)
	}
}

// serves notes that the server is ready.
func (p *policy) serves(now time.Time) {
	p.everReady, p.ready, p.unready, p.before = true, true, 0, nil
	if p.watching {
		p.readyThen = true
		p.readyBy, p.goodAt = time.Time{}, now.Add(p.timing.Good)
	}
}

// upgrade notes that the server is about to become path.
func (p *policy) upgrade(now time.Time, path string) {
	before := *p
	before.before, p.before = nil, &before
	p.binary, p.watching, p.crashes, p.readyThen = path, true, 0, false
	p.startedAt, p.ready = now, false
	p.readyBy, p.goodAt = now.Add(p.timing.Ready), time.Time{}
}

// noUpgrade notes that the server stays what it was. That the keeper was told to
// end meanwhile holds.
func (p *policy) noUpgrade() {
	if p.before != nil {
		ending, crashes := p.ending, p.crashesEnding
		*p = *p.before
		p.ending, p.crashesEnding = ending, crashes
	}
}

func (p *policy) endWatch() {
	p.watching, p.readyBy, p.goodAt = false, time.Time{}, time.Time{}
}

// overdue tells whether the server has to be killed because it took too long to
// become ready. It counts as the last crash that an upgrade may have: a binary
// that hangs once would hang again, and nobody is answered meanwhile.
func (p *policy) overdue(now time.Time) bool {
	if p.readyBy.IsZero() || now.Before(p.readyBy) {
		return false
	}
	p.readyBy = time.Time{}
	p.crashes = upgradeCrashes - 1
	return true
}

// proven tells, once, that the new version has been good for long enough, so
// that the keeper may become it too.
func (p *policy) proven(now time.Time) bool {
	if p.goodAt.IsZero() || now.Before(p.goodAt) {
		return false
	}
	p.endWatch()
	return true
}

// next is when overdue or proven could turn true; zero if neither can.
func (p *policy) next() time.Time {
	if !p.readyBy.IsZero() {
		return p.readyBy
	}
	return p.goodAt
}

// verdict is what follows the end of a server.
type verdict struct {
	// exit: the keeper ends, with code. Otherwise a server starts after pause.
	exit  bool
	code  int
	pause time.Duration
	// fellBack is the binary that is given up for the keeper's own.
	fellBack string
}

// ended decides what follows the end of the server.
func (p *policy) ended(now time.Time, e end) verdict {
	p.goodAt = time.Time{}
	switch {
	case p.meant:
		return verdict{exit: true, code: p.code}
	case e.code == 0 && !(p.watching && !p.ready):
		// A new version that ends well without having served is none.
		return verdict{exit: true}
	case !p.everReady && e.code >= 0:
		// What it could not do it has said, and would say again. Whoever was
		// killed has said nothing.
		return verdict{exit: true, code: e.status()}
	case p.ending:
		if p.crashesEnding++; p.crashesEnding >= endingCrashes {
			return verdict{exit: true, code: e.status()}
		}
		return verdict{}
	case p.watching:
		if p.crashes++; p.crashes < upgradeCrashes {
			return verdict{}
		}
		return verdict{fellBack: p.fallBack()}
	}
	return verdict{pause: p.pause(now)}
}

// fallBack gives the binary up for the keeper's own.
func (p *policy) fallBack() (given string) {
	given = p.binary
	p.binary, p.quick, p.unready = "", 0, 0
	p.endWatch()
	return given
}

// pause is how long to wait before the next start.
func (p *policy) pause(now time.Time) time.Duration {
	lived := now.Sub(p.startedAt)
	if lived >= p.timing.Good {
		p.quick = 0
	}
	if p.ready && lived >= p.timing.Lived {
		return 0
	}
	steps, count := p.timing.Steps, &p.quick
	if !p.ready {
		count = &p.unready
	}
	n := *count
	*count++
	if n < len(steps) {
		return steps[n]
	}
	pause := steps[len(steps)-1]
	if p.ready {
		return pause
	}
	for range n - len(steps) + 1 {
		if pause *= 2; pause >= p.timing.Longest {
			return p.timing.Longest
		}
	}
	return pause
}

// told notes that the keeper has to end. At the second time it does not wait
// for another server.
func (p *policy) told() {
	if p.ending {
		p.crashesEnding = endingCrashes
	}
	p.ending = true
}
