package control

import (
	"errors"
	"fmt"
	"slices"

	"kita/spec"
)

// Words is a client's command line: COMMAND [CHILD] [on HOSTS] [with KEY].
type Words struct {
	Verb spec.Verb
	// Child is empty where none was given.
	Child string
	// Hosts are the objects of `on` as written, for fleet.ParseHosts; nil when
	// there was no `on`, which means the server on this host.
	Hosts []string
	// Key is the object of `with`; empty when there was none.
	Key string
}

// ParseWords reads the arguments of a client, without the program's name. The
// words and their spellings are those of supervisor-rs; so is the rule that the
// word after start, stop, restart and trystart is the child whatever it is.
func ParseWords(args []string) (Words, error) {
	if len(args) == 0 {
		return Words{}, errors.New("which command? give start, stop, restart, trystart, check, info, kill or help")
	}
	verb, ok := spec.ParseVerb(args[0])
	if !ok {
		return Words{}, fmt.Errorf("%q is no command, give start, stop, restart, trystart, check, info, kill or help", args[0])
	}
	w, rest := Words{Verb: verb}, args[1:]
	if len(rest) > 0 && takesAsChild(verb, rest[0]) {
		w.Child, rest = rest[0], rest[1:]
	}
	if err := w.checkChild(); err != nil {
		return Words{}, err
	}
	if w.Child != "" && len(rest) > 0 && !isPreposition(rest[0]) {
		return Words{}, w.oneTooMany(rest[0])
	}
	if err := w.parsePairs(rest); err != nil {
		return Words{}, err
	}
	return w, nil
}

// ParsePlace reads the arguments of a command that takes no child: [on HOSTS]
// [with KEY].
func ParsePlace(args []string) (Words, error) {
	var w Words
	err := w.parsePairs(args)
	return w, err
}

// ParseChildren reads the arguments of a command that is no verb and takes
// children: CHILD… [on HOSTS] [with KEY]. all stands alone. As after a verb, the
// first word is a child whatever it is, but for "on".
func ParseChildren(command string, args []string) (children []string, w Words, err error) {
	for len(args) > 0 && args[0] != "on" && (len(children) == 0 || !isPreposition(args[0])) {
		if !slices.Contains(children, args[0]) {
			children = append(children, args[0])
		}
		args = args[1:]
	}
	for _, child := range children {
		switch {
		case child == "":
			return nil, w, fmt.Errorf("%s \"\": the name of the child is empty", command)
		case child == spec.All && len(children) > 1:
			return nil, w, fmt.Errorf(`"all" is every child, write %s all`, command)
		case child != spec.All && spec.Reserved(child):
			return nil, w, fmt.Errorf("%q is a command, a child cannot have its name", child)
		}
	}
	if len(children) == 0 {
		return nil, w, fmt.Errorf("which child do you mean? write `%s CHILD`, or `%s all`", command, command)
	}
	return children, w, w.parsePairs(args)
}

// takesAsChild: "on" is reserved, so it is never a child; the other
// prepositions could be, and are taken for one where a child must come.
func takesAsChild(verb spec.Verb, word string) bool {
	if verb.Changes() {
		return word != "on"
	}
	return !isPreposition(word)
}

func isPreposition(word string) bool {
	switch word {
	case "on", "On", "with", "With":
		return true
	}
	return false
}

func (w Words) checkChild() error {
	_, isVerb := spec.ParseVerb(w.Child)
	switch {
	case w.Verb == spec.VerbHelp:
		return nil
	case w.Verb.Changes() && w.Child == "":
		return fmt.Errorf("which child do you want to %s? write `%s CHILD`", w.Verb, w.Verb)
	case w.Verb == spec.VerbKill && w.Child != "" && w.Child != spec.All:
		return fmt.Errorf("kill ends the server and all its children, it takes no child; did you mean `stop %s`?", w.Child)
	case isVerb:
		return fmt.Errorf("%q is a command, a child cannot have its name", w.Child)
	}
	return nil
}

// oneTooMany is the error of a word after the child. Who comes from elsewhere may
// expect that several can be named.
func (w Words) oneTooMany(word string) error {
	switch {
	case w.Verb.Changes():
		return fmt.Errorf("%s takes one child, or all: %q is one word too many; after the child only `on HOSTS` or `with KEY` may follow", w.Verb, word)
	case w.Verb == spec.VerbCheck:
		return fmt.Errorf("check takes one child, or shows all: %q is one word too many; after the child only `on HOSTS` or `with KEY` may follow", word)
	}
	return fmt.Errorf("%q stands where `on HOSTS` or `with KEY` may follow", word)
}

func (w *Words) parsePairs(rest []string) error {
	hasKey := false
	for len(rest) > 0 {
		preposition := rest[0]
		if !isPreposition(preposition) {
			return fmt.Errorf("%q stands where `on HOSTS` or `with KEY` may follow", preposition)
		}
		if len(rest) == 1 {
			return fmt.Errorf("%q is the last word, what comes after it?", preposition)
		}
		object := rest[1]
		rest = rest[2:]
		if object == "" {
			return fmt.Errorf("%s \"\": the word after it is empty", preposition)
		}
		if preposition == "on" || preposition == "On" {
			w.Hosts = append(w.Hosts, object)
			continue
		}
		if hasKey {
			return fmt.Errorf("`with` is given twice, once for %s and once for %s: one command uses one key", w.Key, object)
		}
		w.Key, hasKey = object, true
	}
	return nil
}
