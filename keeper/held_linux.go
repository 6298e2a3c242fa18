package keeper

import (
	"encoding/json"

	"golang.org/x/sys/unix"

	"kita/systemd"
)

// Held is a listening socket that the keeper has too, so that it stays open when
// the server dies.
type Held struct {
	// Use tells what it is for, Address what server.yml had for it.
	Use     string `json:"use"`
	Address string `json:"address,omitempty"`
	// Given: a service manager made it, and goes on listening when kita ends.
	Given bool `json:"given,omitempty"`
	FD    int  `json:"-"`
}

// shelf are the listeners of a keeper, at most one of each use.
type shelf []Held

// newShelf has what a service manager handed over.
func newShelf(m *systemd.Manager) (s shelf) {
	for _, socket := range m.Sockets() {
		s = append(s, Held{Use: socket.Use, Given: true, FD: socket.FD})
	}
	return s
}

// put takes a listener in the place of one of the same use, but for a given one.
func (s *shelf) put(h Held) {
	for i, old := range *s {
		switch {
		case old.Use != h.Use:
		case old.Given:
			_ = unix.Close(h.FD)
			return
		default:
			_ = unix.Close(old.FD)
			(*s)[i] = h
			return
		}
	}
	*s = append(*s, h)
}

// descriptors are those that a server inherits, in the order of environ.
func (s shelf) descriptors() (fds []int) {
	for _, h := range s {
		fds = append(fds, h.FD)
	}
	return fds
}

// environ tells a server what it inherits.
func (s shelf) environ() string {
	text, err := json.Marshal([]Held(s))
	if err != nil || s == nil {
		return envHeld + "=" // a server binds what it does not get
	}
	return envHeld + "=" + string(text)
}

// takeHeld is the server's side of environ. What it cannot make out is closed, so
// that no child inherits it.
func takeHeld(text string) (list []Held) {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil
	}
	for i := range list {
		list[i].FD = heldFD + i
		unix.CloseOnExec(list[i].FD)
	}
	return list
}
