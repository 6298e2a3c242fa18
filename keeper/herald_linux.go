package keeper

import (
	"log/slog"
	"strings"
	"time"

	"kita/systemd"
)

const (
	// missedBeats is how many looks in a row at a server that has said nothing
	// since the one before make it one that hangs. There are two looks to the time
	// that the manager would wait for the keeper.
	missedBeats = 3
	// dumpTime is what a server has that was told to abort, to write down where it
	// stands; then it is killed.
	dumpTime = 2 * time.Second
	// slowStart is how long a server may take until it serves, where servers are
	// watched. The first one is the manager's business: it has not been told READY.
	slowStart = 2 * time.Minute
	// again is how long it takes until the manager is told what it had no room for.
	again = time.Second
	// tellReady is what a manager waits for.
	tellReady = "READY=1"
)

// herald is the part of a keeper that speaks to the service manager, and that
// watches the server where the manager watches the keeper:
//
//	start ── READY ──┬─ HUP, upgrade: RELOADING ── READY ─┬── STOPPING
//	                 └─ the server ends: STATUS, READY ───┘
//
// The manager is told WATCHDOG=1 as long as the keeper's loop turns, whether there
// is a server or not: a server that hangs is the keeper's to kill, because the
// manager would have to end the whole service for it.
type herald struct {
	manager *systemd.Manager
	logger  *slog.Logger

	// ready, reloading and stopping are what the manager has been told.
	ready, reloading, stopping bool
	// outbox has what the manager could not take, againAt is when it is said again;
	// zero where there is nothing. deaf: the last message did not get through.
	outbox  systemd.Outbox
	againAt time.Time
	deaf    bool

	// lookAt is when the next look is; zero is never.
	lookAt time.Time
	// beats: this server says when it is alive. heard: it did since the last look,
	// missed counts the looks at which it had not.
	beats, heard bool
	missed       int
	// killAt is when a server is killed that was told to abort.
	killAt time.Time
}

func newHerald(m *systemd.Manager, logger *slog.Logger) herald {
	h := herald{manager: m, logger: logger, outbox: systemd.NewOutbox(m)}
	if m.Watchdog() > 0 {
		h.lookAt = time.Now().Add(m.Watchdog() / 2)
	}
	return h
}

// tell logs the first of several failures, and each that keeps the manager waiting.
func (h *herald) tell(assignments ...string) {
	err := h.outbox.Tell(assignments...)
	if err != nil && (!h.deaf || assignments[0] == tellReady) {
		h.logger.Warn("the service manager cannot be told", "what", assignments[0], "err", err)
	}
	h.deaf = err != nil
	h.remind()
}

// remind sees to it that what is owed is said again, if anything is.
func (h *herald) remind() {
	h.againAt = time.Time{}
	if h.outbox.Owes() {
		h.againAt = time.Now().Add(again)
	}
}

// tellAgain says what is owed.
func (h *herald) tellAgain() {
	if told := h.outbox.Again(); told != nil {
		h.logger.Info("the service manager is told now", "what", strings.Join(told, " "))
		h.deaf = false
	}
	h.remind()
}

func (h *herald) status(text string) { h.tell("STATUS=" + text) }

// serves says that the server answers, for the first time or again.
func (h *herald) serves() {
	if h.stopping {
		return
	}
	h.ready, h.reloading = true, false
	h.tell(tellReady)
}

func (h *herald) reloads() {
	if !h.ready || h.reloading || h.stopping {
		return
	}
	h.reloading = true
	h.tell("RELOADING=1", systemd.Monotonic())
}

func (h *herald) reloaded() {
	if h.reloading {
		h.serves()
	}
}

// stops says, once, that the end has begun.
func (h *herald) stops() {
	if !h.stopping {
		h.stopping = true
		h.tell("STOPPING=1")
	}
}

// extends asks for more time for the end.
func (h *herald) extends(by time.Duration) {
	if h.stopping {
		h.tell(systemd.Extend(by))
	}
}

// started notes that there is a new server, or a new version in its place.
func (h *herald) started() {
	h.beats, h.heard, h.missed, h.killAt = false, false, 0, time.Time{}
}

func (h *herald) beat() { h.beats, h.heard = true, true }

// next is when due wants to be called; zero is never.
func (h *herald) next() time.Time {
	var first time.Time
	for _, at := range []time.Time{h.lookAt, h.killAt, h.againAt} {
		if first.IsZero() || !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return first
}

// sentence is what is to be done about a server that hangs.
type sentence int

const (
	live sentence = iota
	abort
	kill
)

// due keeps the watch. ready and age are the server's; alive is false where there
// is none.
//
// It counts looks and not time, so that a keeper that was stopped itself, with the
// whole machine perhaps, blames nobody for it.
func (h *herald) due(now time.Time, alive, ready bool, age time.Duration) sentence {
	if !h.againAt.IsZero() && !now.Before(h.againAt) {
		h.tellAgain()
	}
	if !h.killAt.IsZero() && !now.Before(h.killAt) {
		h.killAt = time.Time{}
		return kill
	}
	if h.lookAt.IsZero() || now.Before(h.lookAt) {
		return live
	}
	h.lookAt = now.Add(h.manager.Watchdog() / 2)
	h.tell("WATCHDOG=1")
	switch {
	case !alive:
		return live
	case !ready:
		h.missed = 0
		if !h.ready || !h.killAt.IsZero() || age < max(slowStart, h.manager.Watchdog()) {
			return live
		}
	case h.heard || !h.beats:
		h.heard, h.missed = false, 0
		return live
	default:
		if h.missed++; h.missed < missedBeats || !h.killAt.IsZero() {
			return live
		}
	}
	h.killAt = now.Add(dumpTime)
	return abort
}
