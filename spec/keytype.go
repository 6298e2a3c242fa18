package spec

import (
	"fmt"
	"slices"
	"strings"
)

// Type says in words what a value of the key is: "duration, at least 1s",
// "quiet, half or full", "list of directories".
func (k *Key) Type() string {
	var forms []string
	for _, f := range k.Forms {
		switch f {
		case Scalar:
			forms = append(forms, k.scalarType())
		case List:
			forms = append(forms, "list of "+k.Element.elementType())
		case Mapping:
			forms = append(forms, k.mappingType())
		}
	}
	// A choice ends in an "or" of its own.
	if len(forms) > 1 && len(k.Values) > 1 {
		return strings.Join(forms, "; or ")
	}
	return choices(forms)
}

func (k *Key) scalarType() string {
	text := string(k.Kind)
	switch {
	case k.Kind == KindChoice, k.Kind == KindVerb:
		text = choices(k.Values)
	case k.Max != 0:
		text += fmt.Sprintf(" from %d to %d", k.Min, k.Max)
	case k.Min != 0:
		text += fmt.Sprintf(" of at least %d", k.Min)
	case k.Least == "1ns":
		text += " above 0s"
	case k.Least != "":
		text += " of at least " + k.Least
	}
	if len(k.Words) > 0 {
		text += ", or " + choices(k.Words)
	}
	return text
}

func (k *Key) elementType() string {
	switch {
	case k.has(Mapping):
		return "mappings"
	case k.Kind == KindChoice:
		last := len(k.Values) - 1
		return strings.Join(k.Values[:last], ", ") + " and " + k.Values[last]
	}
	return k.Kind.plural()
}

func (k *Key) mappingType() string {
	if k.Value == nil {
		return "mapping"
	}
	return "mapping of NAME: " + k.Value.Type()
}

// Fields are the keys below k: of its mapping, of the mappings in its list, and
// of those under the free names of its mapping; each name once.
func (k *Key) Fields() []Key {
	var fields []Key
	if k.Element != nil {
		fields = slices.Clone(k.Element.Keys)
	}
	more := k.Keys
	if k.Value != nil {
		more = slices.Concat(more, k.Value.Keys)
	}
	for _, below := range more {
		if !slices.ContainsFunc(fields, func(f Key) bool { return f.Name == below.Name }) {
			fields = append(fields, below)
		}
	}
	return fields
}

// Literal is the default where that is a value and not words about one: the text
// of a scalar as a file would have it.
func (k *Key) Literal() (text string, ok bool) {
	inner, found := strings.CutPrefix(k.Default, "`")
	inner, closed := strings.CutSuffix(inner, "`")
	if !found || !closed || strings.Contains(inner, "`") || !k.has(Scalar) {
		return "", false
	}
	return inner, true
}
