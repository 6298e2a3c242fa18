package control

import (
	"bytes"
	"strings"
	"time"

	"kita/control/legacy"
	"kita/spec"
)

// protocol is what a connection speaks.
type protocol int

const (
	// undecided: the bytes so far are the beginning of more than one.
	undecided protocol = iota
	protocolHTTP
	protocolSSH
	protocolText
)

func (p protocol) String() string {
	return [...]string{"undecided", "http", "ssh", "text"}[p]
}

// httpMethods are those of RFC 9110 and RFC 5789. None begins a word of the
// text protocol, nor the other way round.
var httpMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

// httpTargets begin what follows the method: origin form, `OPTIONS *`, and the
// absolute form that a proxy would be asked with.
var httpTargets = []string{"/", "*", "http://", "https://"}

const sshBanner = "SSH-"

// sniff says what a connection speaks whose first bytes are these.
func sniff(first []byte) protocol {
	if match := matchPrefix(first, sshBanner); match == matched {
		return protocolSSH
	} else if match == partly {
		return undecided
	}
	for _, method := range httpMethods {
		switch matchPrefix(first, method+" ") {
		case partly:
			return undecided
		case matched:
			return sniffTarget(first[len(method)+1:])
		}
	}
	return protocolText
}

func sniffTarget(target []byte) protocol {
	for _, want := range httpTargets {
		switch matchPrefix(target, want) {
		case matched:
			return protocolHTTP
		case partly:
			return undecided
		}
	}
	return protocolText
}

type match int

const (
	unmatched match = iota
	// partly: all of the bytes match, and more are needed.
	partly
	matched
)

func matchPrefix(got []byte, want string) match {
	switch {
	case bytes.HasPrefix(got, []byte(want)):
		return matched
	case strings.HasPrefix(want, string(got)):
		return partly
	}
	return unmatched
}

// silence is how long nothing must come for the bytes so far to be taken for a
// whole request of the text protocol. 0 means that they are one already; the
// time limit of a request is the longest answer.
func (s *Server) silence(p protocol, c *conn) time.Duration {
	if p == undecided {
		return s.opt.Timing.Request
	}
	var opens func(name string, body []byte) bool
	if c.transport.encrypt {
		opens = s.opens
	}
	// The time of an answer must not tell of children to who may not read them.
	var known func(name string) (exact, longer bool)
	if isAllowed(s.config().Access, c.asker, spec.Read, spec.All) {
		known = s.known
	}
	switch legacy.Pending(c.read, opens, known) {
	case legacy.Complete:
		return 0
	case legacy.Likely:
		return s.opt.Timing.Quiet
	case legacy.Unlikely:
		return s.opt.Timing.Patience
	case legacy.Partial:
	}
	return s.opt.Timing.Request
}

// known tells whether a child of the name exists, and whether one exists whose
// name begins with it and is longer.
func (s *Server) known(name string) (exact, longer bool) {
	if _, exact = s.opt.Service.Get(name); exact {
		return true, false
	}
	for _, v := range s.opt.Service.List() {
		if len(v.Name) > len(name) && strings.HasPrefix(v.Name, name) {
			return false, true
		}
	}
	return false, false
}
