package legacy

import (
	"bytes"
	"strings"

	"kita/spec"
)

// Wait says how likely more bytes are to follow those of a request that came so
// far. The protocol has no end mark and its client keeps its side open, so the
// end of a request is known only from a silence; Wait chooses how long a
// silence it takes.
type Wait int

const (
	// Complete: nothing can follow, answer at once.
	Complete Wait = iota
	// Likely: it makes sense as it is. More may follow, but in one segment
	// with the rest, as old clients write it: a short silence ends it.
	Likely
	// Unlikely: as it is it would be refused, and with a few more words it
	// would not: it takes a long silence to answer the error.
	Unlikely
	// Partial: it ends within the word of an operation. No silence ends it,
	// only the time limit of a request or the client's half-close.
	Partial
)

// operations are the spellings of spec.ParseVerb, which a test compares.
var operations = []string{
	"start", "Start", "restart", "Restart", "stop", "Stop", "check", "Check", "kill", "Kill",
	"trystart", "Trystart", "TryStart", "info", "Info", "INFO", "InFo", "help", "Help", "-h",
}

// Pending classes the bytes that came so far. opens, which is nil unless in
// encrypt mode, tells whether a body can be opened with the key of that name.
// known tells whether a child of exactly that name exists, and whether one
// exists whose name is longer and begins with it; nil knows nothing.
func Pending(packet []byte, opens func(name string, body []byte) bool, known func(name string) (exact, longer bool)) Wait {
	if opens != nil {
		return pendingPacket(packet, opens)
	}
	if bytes.ContainsAny(packet, "\n") {
		return Complete
	}
	text := string(bytes.TrimRight(packet, "\x00"))
	if len(text) < len(packet) {
		// The old client's buffer, padded: what is before the padding is all.
		return Likely
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return Partial
	}
	open := strings.HasSuffix(text, words[len(words)-1])
	verb, ok := spec.ParseVerb(words[0])
	if !ok {
		if len(words) == 1 && open && isPrefixOfOperation(words[0]) {
			return Partial
		}
		return Likely
	}
	rest := words[1:]
	if verb.Changes() {
		if len(rest) == 0 {
			return Unlikely
		}
		if len(rest) == 1 && open {
			return pendingName(verb, rest[0], known)
		}
		rest = rest[1:]
	} else if len(rest) > 0 && !isPreposition(rest[0]) {
		rest = rest[1:]
	}
	if len(rest)%2 != 0 {
		return Unlikely
	}
	return Likely
}

func isPrefixOfOperation(word string) bool {
	for _, op := range operations {
		if strings.HasPrefix(op, word) {
			return true
		}
	}
	return false
}

// pendingName tells `start we`, where there is a web and no we, from `start web`.
func pendingName(verb spec.Verb, name string, known func(string) (exact, longer bool)) Wait {
	if verb == spec.VerbStop && name != spec.All && strings.HasPrefix(spec.All, name) {
		if known == nil {
			return Likely
		}
		if exact, _ := known(name); !exact {
			return Unlikely
		}
	}
	if known == nil {
		return Likely
	}
	if exact, longer := known(name); longer && !exact {
		return Unlikely
	}
	return Likely
}

// The bodies of the keys that are in use, in bytes.
const minBody, maxBody = 2048 / 8, 16384 / 8

// pendingPacket: NAME;BYTES, which is complete as soon as it can be opened. A
// body of the right length that cannot be opened takes the same silence as one
// whose key does not exist, so that the time of an answer does not tell which
// keys there are.
func pendingPacket(packet []byte, opens func(name string, body []byte) bool) Wait {
	name, body, found := bytes.Cut(packet, []byte(";"))
	switch {
	case !found || len(body) == 0:
		return Unlikely
	case len(name) > 0 && len(body) >= minBody && len(body) <= maxBody && opens(string(name), body):
		return Complete
	}
	return Likely
}
