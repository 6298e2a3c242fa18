package logs

import (
	"context"
	"time"
)

const (
	// quietTime is how long nothing has to be written for an unfinished line to
	// be sent.
	quietTime = time.Second
	// setInterval is the least time between two looks at a set that changes.
	setInterval = 100 * time.Millisecond
)

// deadline is when an unfinished line is sent, if nothing more was written.
type deadline struct {
	reading *reading
	at      time.Time
}

// follow sends what is written from now on, a chunk of each source in turn,
// until ctx ends or send fails.
func (s *sender) follow(ctx context.Context) error {
	for _, r := range s.readings {
		r.until = noBound
		s.bell.ring(r)
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	changed := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		changed = s.bell.takeSet() || changed
		if now := time.Now(); changed && !now.Before(s.resolved.Add(setInterval)) {
			changed = false
			if err := s.resolve(now); err != nil {
				return err
			}
		}
		s.ringQuiet(time.Now())
		if r := s.bell.take(); r != nil {
			if err := s.turn(ctx, r); err != nil {
				return err
			}
			continue
		}
		if s.allFailed() {
			return s.failures()
		}
		timer.Reset(s.wait(changed))
		select {
		case <-ctx.Done():
		case <-s.bell.C:
		case <-timer.C:
		}
	}
}

// wait is how long nothing is to be done unless something rings.
func (s *sender) wait(changed bool) time.Duration {
	next := time.Now().Add(time.Hour)
	if changed {
		next = s.resolved.Add(setInterval)
	}
	if len(s.quiet) > 0 && s.quiet[0].at.Before(next) {
		next = s.quiet[0].at
	}
	return time.Until(next)
}

// turn sends the next chunk of r.
func (s *sender) turn(ctx context.Context, r *reading) error {
	if s.readings[r.name] != r {
		return nil // it rang once more after it was left
	}
	if !r.begun {
		if r.err = s.begin(ctx, r); r.err != nil {
			return nil
		}
		r.until = noBound
	}
	if identityOf(r.Source) != r.identity {
		s.startOver(r)
	}
	_, end := r.Source.Bounds()
	now := time.Now()
	l := limits{now: now, unfinished: r.leaving || r.isQuiet(now, end)}
	if r.pos < end || r.reader != nil {
		more, err := s.step(r, l)
		if err != nil {
			return err
		}
		if more {
			s.bell.ring(r)
			return nil
		}
	}
	s.hold(r, now)
	r.close()
	if r.lost > 0 {
		if err := s.sendPlace(r); err != nil {
			return err
		}
	}
	if r.leaving {
		return s.leave(r)
	}
	return nil
}

// startOver begins a source anew whose positions have done so.
func (s *sender) startOver(r *reading) {
	r.close()
	r.identity = identityOf(r.Source)
	r.pos, _ = r.Source.Bounds()
	r.inLine, r.quietAt = false, time.Time{}
}

// hold takes note of an unfinished line. Its bytes are read again when it goes
// on, so that it costs nothing meanwhile.
func (s *sender) hold(r *reading, now time.Time) {
	seen := r.pos + uint64(len(r.held))
	if len(r.held) == 0 || s.filter.grep != nil {
		r.quietAt = time.Time{}
		return
	}
	if r.quietAt.IsZero() || seen != r.seen {
		r.seen, r.quietAt = seen, now.Add(quietTime)
		s.quiet = append(s.quiet, deadline{r, r.quietAt})
	}
}

// isQuiet tells whether an unfinished line has been held for long enough.
func (r *reading) isQuiet(now time.Time, end uint64) bool {
	return !r.quietAt.IsZero() && !now.Before(r.quietAt) && end == r.seen
}

// ringQuiet gives a turn to those whose unfinished line may be sent by now.
func (s *sender) ringQuiet(now time.Time) {
	for len(s.quiet) > 0 && !now.Before(s.quiet[0].at) {
		if first := s.quiet[0]; first.at.Equal(first.reading.quietAt) {
			s.bell.ring(first.reading)
		}
		s.quiet = s.quiet[1:]
	}
}

// allFailed tells whether there are sources, and none can be read.
func (s *sender) allFailed() bool {
	for _, r := range s.readings {
		if r.err == nil {
			return false
		}
	}
	return len(s.readings) > 0
}
