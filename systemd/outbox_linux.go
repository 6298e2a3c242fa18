package systemd

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Outbox tells a manager, and keeps what it had no room for: it would wait in vain
// for a READY=1 that was lost. Of each kind the latest is what counts. It may be used
// by one goroutine at a time.
type Outbox struct {
	manager *Manager
	// state is READY, RELOADING or STOPPING, with what goes with it, status a STATUS;
	// nil where it is not owed.
	state, status []string
}

// NewOutbox makes one of a manager, which may be nil.
func NewOutbox(m *Manager) Outbox { return Outbox{manager: m} }

// Tell is that of Manager.
func (o *Outbox) Tell(assignments ...string) error {
	err := o.manager.Tell(assignments...)
	owed := &o.state
	switch name, _, _ := strings.Cut(assignments[0], "="); name {
	case "READY", "RELOADING", "STOPPING":
	case "STATUS":
		owed = &o.status
	default:
		return err // it is said anew before long
	}
	// A manager that is gone, or never was there, will not come back.
	*owed = nil
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
		*owed = assignments
	}
	return err
}

// Owes tells whether there is something to say Again.
func (o *Outbox) Owes() bool { return o.state != nil || o.status != nil }

// Again says what the manager had no room for, the state first. It returns what it
// has taken now.
func (o *Outbox) Again() (told []string) {
	for _, owed := range [][]string{o.state, o.status} {
		if owed == nil {
			continue
		}
		if o.Tell(owed...) != nil {
			break
		}
		told = append(told, owed[0])
	}
	return told
}
