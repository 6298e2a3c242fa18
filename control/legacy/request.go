package legacy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"kita/spec"
)

// request is a parsed packet.
type request struct {
	verb spec.Verb
	// child is empty when none was named.
	child string
}

var (
	errNoOperation = errors.New("no legal operations input")
	errVerbAsName  = errors.New("child name cannot be command")
	errOddPairs    = errors.New("prep & obj arguments number should be even")
	errKillOne     = errors.New("kill ends the server and all its children, it takes no child name")
)

// parse reads a packet: OP, or OP NAME, and pairs of a preposition and an
// object, which say where the client sent it and mean nothing here. The errors
// are answers.
func parse(packet []byte) (request, error) {
	if !utf8.Valid(packet) {
		return request{}, errNoOperation
	}
	words := strings.Fields(strings.TrimRight(string(packet), "\x00 \t\r\n"))
	if len(words) == 0 {
		return request{}, errNoOperation
	}
	verb, ok := spec.ParseVerb(words[0])
	if !ok {
		return request{}, errNoOperation
	}
	r, rest := request{verb: verb}, words[1:]
	if verb.Changes() && len(rest) == 0 {
		return r, fmt.Errorf("you have to give which child you want to %s", verb)
	}
	// supervisor-rs takes the word after a changing verb for the name whatever
	// it is; after the others a preposition is not a name.
	if len(rest) > 0 && (verb.Changes() || !isPreposition(rest[0])) {
		r.child, rest = rest[0], rest[1:]
	}
	if _, isVerb := spec.ParseVerb(r.child); isVerb {
		return r, errVerbAsName
	}
	if err := checkPairs(rest); err != nil {
		return r, err
	}
	return r, checkName(r)
}

func checkPairs(words []string) error {
	if len(words)%2 != 0 {
		return errOddPairs
	}
	for i := 0; i < len(words); i += 2 {
		if !isPreposition(words[i]) {
			return fmt.Errorf("does not support %s", words[i])
		}
	}
	return nil
}

// checkName refuses the names no child can have.
func checkName(r request) error {
	switch {
	case r.verb == spec.VerbKill && r.child != "" && r.child != spec.All:
		// supervisor-rs ended all children here; a user who names one child
		// does not mean that.
		return errKillOne
	case r.verb.Changes() && r.verb != spec.VerbStop && spec.Reserved(r.child):
		return fmt.Errorf(`"%s" is reserved keywords, cannot run child named "%s"`, r.child, r.child)
	}
	return nil
}

func isPreposition(word string) bool {
	switch word {
	case "on", "On", "with", "With":
		return true
	}
	return false
}
