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
// messages, and for whoever describes the files to others. The reference in
// docs/files.md, the JSON Schemas and `kita explain` have nothing else to go by.
//
// The texts are Markdown, `so` for what stands in a file; a link is relative to
// docs.
type Key struct {
	Name string
	// Forms are the shapes the value can have.
	Forms []Form
	// Example is the key with a legal value.
	Example string
	// Doc is one line for people, More what else they should know; neither ends
	// in a full stop.
	Doc, More string
	// Default is what holds without the key: `code` where that is a value, else
	// words. Empty where the key is required, or says nothing by itself.
	Default string
	// Required: the mapping that the key stands in is wrong without it.
	Required bool

	// Kind says what a scalar is; empty where it cannot be one.
	Kind Kind
	// Values are the legal scalars of a KindChoice or KindVerb.
	Values []string
	// Words are legal besides what Kind says: unlimited.
	Words []string
	// Min and Max bound a number; both are 0 where none is meant.
	Min, Max int
	// Least is the smallest duration or size, as text; empty for any.
	Least string

	// Element describes the elements of a list; it has no Name. At least MinItems
	// have to be there.
	Element  *Key
	MinItems int
	// Keys are the keys of a mapping; nil where any name is legal.
	Keys []Key
	// Value describes what stands under each name where any is legal; it has no
	// Name.
	Value *Key
	// OneOf are keys of a mapping of which it has to have exactly one.
	OneOf []string
	// remedy says what to write instead of a value of another shape; empty where
	// Example is enough.
	remedy string
}

func (k *Key) has(f Form) bool { return slices.Contains(k.Forms, f) }

// ofMappings tells whether it is a list of mappings.
func (k *Key) ofMappings() bool { return k.Element != nil && k.Element.has(Mapping) }

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

// elements describes a list of mappings.
func elements[T any](rules []rule[T]) *Key {
	return &Key{Forms: []Form{Mapping}, Keys: keysOf(rules)}
}

// scalars describes a list of scalars, or what stands under free names.
func scalars(k Kind) *Key { return &Key{Forms: []Form{Scalar}, Kind: k} }

// ServerKeys describes the keys of server.yml, ChildKeys those of a child's
// file, each in the order in which they are best shown.
func ServerKeys() []Key { return keysOf(serverRules()) }

// ChildKeys describes the keys of a child's file.
func ChildKeys() []Key { return keysOf(childRules()) }

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

func readText(v value, into *string) {
	if s, ok := v.filledText(); ok {
		*into = s
	}
}

// readChoice reads one of the rule's values.
func readChoice[T ~string](v value, into *T) {
	if c, ok := v.choice(); ok {
		*into = T(c)
	}
}

// readSwitch reads one of two values, of which on means true.
func readSwitch(v value, on string, into *bool) {
	if c, ok := v.choice(); ok {
		*into = c == on
	}
}

func readInteger(v value, into *int) {
	if n, ok := v.integer(); ok {
		*into = n
	}
}
