package spec

import (
	"slices"
	"strings"
)

// Form is the shape of a value in a file.
type Form string

const (
	Scalar  Form = "scalar"
	List    Form = "list"
	Mapping Form = "mapping"
)

func (f Form) noun() string {
	switch f {
	case List:
		return "a list"
	case Mapping:
		return "a mapping"
	}
	return "text"
}

// Key describes one key of a configuration file: for the reader, for its error
// messages, and for whoever describes the files to others.
type Key struct {
	Name string
	// Forms are the shapes the value can have.
	Forms []Form
	// Example is the key with a legal value.
	Example string
	// Doc is one line for people.
	Doc string
	// Required: the file is wrong without the key.
	Required bool
	// Values are the legal scalars; nil where they are not a closed set.
	Values []string
	// Min and Max bound a whole number; both are 0 where none is meant.
	Min, Max int
	// Keys are the keys of a mapping, or of the mappings in a list; nil where
	// any name is legal.
	Keys []Key
	// remedy says what to write instead of a value of another shape; empty where
	// Example is enough.
	remedy string
}

func (k *Key) has(f Form) bool { return slices.Contains(k.Forms, f) }

func (k *Key) nouns() string {
	var nouns []string
	for _, f := range k.Forms {
		nouns = append(nouns, f.noun())
	}
	return choices(nouns)
}

// rule is a key and how its value is read into a T.
type rule[T any] struct {
	Key
	read func(v value, into *T)
}

// ServerKeys describes the keys of server.yml, ChildKeys those of a child's
// file, each in the order in which they are best shown.
func ServerKeys() []Key { return keysOf(serverRules()) }

// ChildKeys describes the keys of a child's file.
func ChildKeys() []Key { return keysOf(childRules()) }

// DefaultsKeys describes the keys of `defaults` in server.yml.
func DefaultsKeys() []Key { return keysOf(defaultsRules()) }

func keysOf[T any](rules []rule[T]) []Key {
	keys := make([]Key, len(rules))
	for i := range rules {
		keys[i] = rules[i].Key
	}
	return keys
}

func namesOf[T any](rules []rule[T]) []string {
	names := make([]string, len(rules))
	for i := range rules {
		names[i] = rules[i].Name
	}
	return names
}

// readMapping reads each key of v by its rule.
func readMapping[T any](v value, rules []rule[T], into *T) {
	for _, f := range v.fields() {
		if v.doc.closed {
			return
		}
		at := slices.IndexFunc(rules, func(r rule[T]) bool { return r.Name == f.name })
		if at < 0 {
			f.failf("unknown key, %s", hint(f.name, namesOf(rules)))
			continue
		}
		f.rule = &rules[at].Key
		if f.admitted() {
			rules[at].read(f.value, into)
		}
	}
}

// hint says which key was probably meant.
func hint(name string, known []string) string {
	if meant, ok := nearest(name, known); ok {
		return "did you mean " + meant + "?"
	}
	return "write one of " + strings.Join(known, ", ")
}
