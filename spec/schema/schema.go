package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"kita/spec"
)

// Of is the schema of a file, as text that ends in a line break.
func Of(f spec.FileType) ([]byte, error) {
	root := f.Key()
	m := maker{defs: properties{}}
	n, err := m.mapping(&root, "")
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", f.File, err)
	}
	n.Schema = "https://json-schema.org/draft/2020-12/schema"
	n.Comment = "Made from kita's own description of its keys, by `kita schema " + f.Name + "`"
	n.Title, n.Description = "kita: "+f.File, description(&root)
	if !slices.ContainsFunc(f.Keys, func(k spec.Key) bool { return k.Required }) {
		n.Type = []string{"object", "null"} // an empty file has every default
	}
	slices.SortFunc(m.defs, func(a, b property) int { return strings.Compare(a.name, b.name) })
	n.Defs = m.defs
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(n); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", f.File, err)
	}
	return b.Bytes(), nil
}

// maker collects the definitions that a schema refers to.
type maker struct{ defs properties }

// key is the schema of k's value; path is what its title says.
func (m *maker) key(k *spec.Key, path string) (*node, error) {
	n, err := m.value(k, path)
	if err != nil {
		return nil, err
	}
	n.Title, n.Description = path, description(k)
	if text, ok := k.Literal(); ok {
		n.Default = literal(k.Kind, text)
	}
	example, err := exampleOf(k)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n.Examples = []any{example}
	return n, nil
}

// value is the schema without what is only for people.
func (m *maker) value(k *spec.Key, path string) (*node, error) {
	var forms []*node
	for _, form := range k.Forms {
		var n *node
		var err error
		switch form {
		case spec.Scalar:
			n = m.scalar(k)
		case spec.List:
			n, err = m.list(k, path)
		case spec.Mapping:
			n, err = m.mapping(k, path)
		}
		if err != nil {
			return nil, err
		}
		forms = append(forms, n)
	}
	if len(forms) == 1 {
		return forms[0], nil
	}
	return &node{AnyOf: forms}, nil
}

func (m *maker) list(k *spec.Key, path string) (*node, error) {
	items, err := m.value(k.Element, path)
	return &node{Type: "array", MinItems: k.MinItems, Items: items}, err
}

func (m *maker) mapping(k *spec.Key, path string) (*node, error) {
	n := &node{Type: "object"}
	if k.Value != nil {
		under, err := m.value(k.Value, path+".NAME")
		n.AdditionalProperties = under
		if k.Name == "env" {
			n.PropertyNames = &node{Pattern: "^[^=]+$"}
		}
		return n, err
	}
	n.AdditionalProperties = false
	n.Properties = properties{}
	for i := range k.Keys {
		below := &k.Keys[i]
		v, err := m.key(below, strings.TrimPrefix(path+"."+below.Name, "."))
		if err != nil {
			return nil, err
		}
		n.Properties = append(n.Properties, property{below.Name, v})
		if below.Required {
			n.Required = append(n.Required, below.Name)
		}
	}
	for _, name := range k.OneOf {
		n.OneOf = append(n.OneOf, &node{Required: []string{name}})
	}
	return n, nil
}

// define puts n among the definitions under name, and returns a reference to it.
func (m *maker) define(name string, n *node) *node {
	if !slices.ContainsFunc(m.defs, func(p property) bool { return p.name == name }) {
		m.defs = append(m.defs, property{name, n})
	}
	return &node{Ref: "#/$defs/" + name}
}

// description is what an editor shows.
func description(k *spec.Key) string {
	text := k.Doc
	if k.More != "" {
		text += ". " + k.More
	}
	if k.Default != "" {
		text += ". Default: " + k.Default
	}
	return spec.Plain(text)
}
