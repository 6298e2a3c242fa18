package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"go.yaml.in/yaml/v3"

	"kita/spec"
)

// exampleOf is the value in k's example.
func exampleOf(k *spec.Key) (any, error) {
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(k.Example), &node); err != nil {
		return nil, fmt.Errorf("example: %w", err)
	}
	mapping := node.Content[0]
	return Value(mapping.Content[len(mapping.Content)-1]), nil
}

var decimal = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^-?(0|[1-9][0-9]{0,15})(\.[0-9]+)?$`)
})

// Value is what JSON has for a node of YAML, as an editor takes it: a whole number
// that JSON would spell otherwise, 022 say, stays text.
func Value(n *yaml.Node) any {
	switch n.Kind {
	case yaml.AliasNode:
		return Value(n.Alias)
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, Value(item))
		}
		return list
	case yaml.MappingNode:
		mapping := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			mapping[n.Content[i].Value] = Value(n.Content[i+1])
		}
		return mapping
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
	case "!!int", "!!float":
		if !decimal().MatchString(n.Value) {
			return n.Value
		}
		if whole, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			return whole
		}
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return f
		}
	}
	return n.Value
}

// literal is the value of a default.
func literal(k spec.Kind, text string) any {
	switch k {
	case spec.KindInteger, spec.KindNumber:
		if n, err := strconv.Atoi(text); err == nil {
			return n
		}
	case spec.KindBoolean:
		return text == "true"
	}
	return text
}
