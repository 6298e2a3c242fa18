package spec

import (
	"cmp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value is one node of a document, with the key it stands under.
type value struct {
	doc  *document
	node *yaml.Node
	key  string
	line int
	rule *Key
}

func (d *document) value(node *yaml.Node, key string, rule *Key) value {
	v := value{d, node, key, max(node.Line, 1), rule}
	// An alias may stand inside the anchor it names, but not twice in a row.
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		v.node = node.Alias
	}
	return v
}

// failf reports an error at v.
func (v value) failf(format string, args ...any) {
	v.doc.failf(v.line, cmp.Or(v.key, documentKey), format, args...)
}

// form is the shape of the node.
func (v value) form() Form {
	switch v.node.Kind {
	case yaml.MappingNode:
		return Mapping
	case yaml.SequenceNode:
		return List
	}
	return Scalar
}

// empty: nothing, `~` or `null` stands there, without quotes.
func (v value) empty() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" }

// admitted checks v's form against its rule.
func (v value) admitted() bool {
	form := v.form()
	switch {
	case !v.tagKnown():
		return false
	case v.rule.has(form) && (form != Scalar || !v.empty()):
		return true
	case v.empty() && v.rule.Required:
		v.failf("has no value, write %s", v.rule.Example)
	case v.empty():
		v.failf("has no value, write %s or leave the key out", v.rule.Example)
	case form == Scalar && v.rule.has(List) && !v.rule.has(Mapping) && !v.rule.ofMappings():
		v.failf("is text where a list belongs, write %s: [%s]", v.rule.Name, shortened(printable(v.node.Value)))
	default:
		v.failf("is %s where %s belongs, %s", form.noun(), v.rule.nouns(), cmp.Or(v.rule.remedy, "write "+v.rule.Example))
	}
	return false
}

// tagKnown refuses tags like !vault: what they ask for would not be done.
func (v value) tagKnown() bool {
	if v.node.Style&yaml.TaggedStyle == 0 {
		return true
	}
	switch v.node.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!seq", "!!map":
		return true
	}
	v.failf("the tag %s is not known, remove it", quoted(v.node.Tag))
	return false
}

// text is the scalar as written, so that on, 022 and ::1 stay what they are.
func (v value) text() (string, bool) {
	switch {
	case v.form() != Scalar:
		v.failf("%s stands where text belongs, write %s", v.form().noun(), v.rule.Example)
	case !v.tagKnown():
	case v.node.Value == "" && v.empty():
		v.failf(`has no value, write "" for empty text`)
	case strings.Contains(v.node.Value, "\x00"):
		v.failf("has a NUL character, which no file name or argument can hold, remove it")
	default:
		return v.node.Value, true
	}
	return "", false
}

// filledText is text that is not empty.
func (v value) filledText() (string, bool) {
	s, ok := v.text()
	if ok && strings.TrimSpace(s) == "" {
		v.failf("is empty, write %s", v.rule.Example)
		return "", false
	}
	return s, ok
}

// items are the elements of a list, nil if v is none.
func (v value) items() []value {
	if v.form() != List || !v.visit() {
		return nil
	}
	items := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = v.doc.value(n, v.key, v.rule)
	}
	return items
}

// texts are the elements of a list of text.
func (v value) texts(read func(value) (string, bool)) []string {
	list := []string{}
	for _, item := range v.items() {
		if s, ok := read(item); ok {
			list = append(list, s)
		}
	}
	return list
}

// visit pays for the values directly below v; it is false once the document
// has cost too much.
func (v value) visit() bool {
	v.doc.visits += len(v.node.Content) + 1
	if v.doc.visits > maxVisits {
		v.failf("the aliases unfold to too many values, write the values out")
		v.doc.closed = true
	}
	return !v.doc.closed
}

// choice is one of the rule's values.
func (v value) choice() (string, bool) {
	s, ok := v.text()
	if !ok {
		return "", false
	}
	for _, legal := range v.rule.Values {
		if s == legal {
			return s, true
		}
	}
	v.failf("%s is not known, write %s", quoted(s), choices(v.rule.Values))
	return "", false
}

// integer is a number within the rule's bounds.
func (v value) integer() (int, bool) {
	s, ok := v.text()
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < v.rule.Min || n > v.rule.Max {
		v.failf("%s is no whole number from %d to %d, write %s", quoted(s), v.rule.Min, v.rule.Max, v.rule.Example)
		return 0, false
	}
	return n, true
}

// field is one entry of a mapping.
type field struct {
	name string
	value
}

// fields are the entries of a mapping, each name once.
func (v value) fields() []field {
	if v.form() != Mapping || !v.visit() {
		return nil
	}
	var fields []field
	first := make(map[string]int, len(v.node.Content)/2)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.doc.value(v.node.Content[i], v.key, v.rule)
		name := key.node.Value
		switch line, twice := first[name]; {
		case key.form() != Scalar:
			key.failf("%s stands where a key belongs, write KEY: VALUE", key.form().noun())
			continue
		case key.node.Tag == "!!merge":
			v.under(name, key.line).failf("merge keys are not read, write the keys out")
			continue
		case twice:
			v.under(name, key.line).failf("is given twice, first in line %d, leave one out", line)
			continue
		}
		first[name] = key.line
		entry := v.doc.value(v.node.Content[i+1], join(v.key, name), v.rule)
		entry.line = key.line
		fields = append(fields, field{name, entry})
	}
	return fields
}

// under is a place for an error about the key name of the mapping v.
func (v value) under(name string, line int) value {
	v.key, v.line = join(v.key, name), line
	return v
}

// join is the path of the key name below key. A name that could be taken for
// something else in a message is quoted.
func join(key, name string) string {
	if name == "" || strings.ContainsAny(name, " :\"") {
		name = quoted(name)
	} else {
		name = shortened(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}
