package main

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"kita/keeper"
	"kita/systemd"
)

const (
	// extension is how much more time the end is asked for at once, while
	// children are being stopped; it is asked for three times as often.
	extension = 30 * time.Second
	// reportEvery is how long a change may wait to be told.
	reportEvery = time.Second
	// tellAgain is how long it takes until the manager is told what it had no room for.
	tellAgain = time.Second
)

// herald is whom a server tells how it is: its keeper, which tells the service
// manager; or that itself where there is no keeper.
type herald interface {
	Ready()
	// Status is told only where somebody hears it.
	Tells() bool
	Status(text string)
	Reloading()
	Reloaded()
	Stopping()
	Extend(by time.Duration)
	// Beat is told several times within Watchdog, unless that is 0.
	Watchdog() time.Duration
	Beat()
}

var _ herald = (*keeper.Link)(nil)
var _ herald = (*ownHerald)(nil)

func chooseHerald(link *keeper.Link, m *systemd.Manager, logger *slog.Logger) herald {
	if link != nil {
		return link
	}
	return &ownHerald{manager: m, logger: logger, outbox: systemd.NewOutbox(m)}
}

// ownHerald speaks to the service manager itself.
type ownHerald struct {
	manager *systemd.Manager
	logger  *slog.Logger

	mu       sync.Mutex
	stopping bool           // guarded by mu
	outbox   systemd.Outbox // guarded by mu
	// again is under way where something is owed.
	again *time.Timer // guarded by mu
}

func (h *ownHerald) tell(assignments ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tellLocked(assignments...)
}

func (h *ownHerald) tellLocked(assignments ...string) {
	if err := h.outbox.Tell(assignments...); err != nil {
		h.logger.Warn("the service manager cannot be told", "what", assignments[0], "err", err)
	}
	h.remind()
}

// remind sees to it that what the manager had no room for is said again.
func (h *ownHerald) remind() {
	if h.again != nil || !h.outbox.Owes() {
		return
	}
	h.again = time.AfterFunc(tellAgain, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.again = nil
		if told := h.outbox.Again(); told != nil {
			h.logger.Info("the service manager is told now", "what", strings.Join(told, " "))
		}
		h.remind()
	})
}

func (h *ownHerald) Ready()                  { h.tell("READY=1") }
func (h *ownHerald) Tells() bool             { return h.manager.Listens() }
func (h *ownHerald) Status(text string)      { h.tell("STATUS=" + text) }
func (h *ownHerald) Reloading()              { h.tell("RELOADING=1", systemd.Monotonic()) }
func (h *ownHerald) Reloaded()               { h.tell("READY=1") }
func (h *ownHerald) Extend(by time.Duration) { h.tell(systemd.Extend(by)) }
func (h *ownHerald) Watchdog() time.Duration { return h.manager.Watchdog() }
func (h *ownHerald) Beat()                   { h.tell("WATCHDOG=1") }

func (h *ownHerald) Stopping() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopping {
		h.stopping = true
		h.tellLocked("STOPPING=1")
	}
}

// underSystemd tells whether a service manager hears what the server says, waits for
// its signs of life, or listens for it.
func (s *server) underSystemd() bool {
	return s.herald.Tells() || s.herald.Watchdog() > 0 || len(s.listeners.given) > 0
}

// report tells how the children are at each change, and that the loop moves. Where
// nobody hears it or nothing changes it costs nothing. The first status has been
// told when it returns; end ends it.
func (s *server) report() (end func()) {
	var tasks sync.WaitGroup
	quit := make(chan struct{})
	if s.herald.Tells() {
		changes, stop := s.reconciler.Changes()
		told := s.reconciler.Headcount()
		s.herald.Status(told)
		tasks.Go(func() {
			defer stop()
			s.reportChanges(changes, quit, told)
		})
	}
	if patience := s.herald.Watchdog(); patience > 0 {
		tasks.Go(func() { s.beat(patience/4, quit) })
	}
	return sync.OnceFunc(func() {
		close(quit)
		tasks.Wait()
	})
}

func (s *server) reportChanges(changes, quit <-chan struct{}, told string) {
	pause := time.NewTimer(reportEvery)
	defer pause.Stop()
	for {
		// The pause comes first: changes come in flocks, and the last one counts.
		select {
		case <-pause.C:
		case <-quit:
			return
		}
		select {
		case <-changes:
		case <-quit:
			return
		}
		if now := s.reconciler.Headcount(); now != told {
			told = now
			s.herald.Status(now)
		}
		pause.Reset(reportEvery)
	}
}

// beat tells that the server is alive as long as its loop moves.
func (s *server) beat(every time.Duration, quit <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var done uint64
	for {
		var moves bool
		if done, moves = s.reconciler.Moves(done); moves {
			s.herald.Beat()
		}
		select {
		case <-tick.C:
		case <-quit:
			return
		}
	}
}
