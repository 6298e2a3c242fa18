package spec

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// KeyLines says in which line of a file each key stands, by its path: stop.grace.
// Below a list the path has the number of the element, from 0: access.0.keys. A
// file that is no YAML has none.
func KeyLines(data []byte) map[string]int {
	doc := &document{}
	lines := map[string]int{}
	if root := doc.parse(data); root != nil {
		addLines(lines, root, "", 0)
	}
	return lines
}

func addLines(lines map[string]int, n *yaml.Node, path string, depth int) {
	const deepest = 20 // nothing in our files is
	if depth > deepest {
		return
	}
	for i, below := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 0:
			name := join(path, below.Value)
			if _, twice := lines[name]; !twice {
				lines[name] = below.Line
			}
			addLines(lines, n.Content[i+1], name, depth+1)
		case n.Kind == yaml.SequenceNode:
			addLines(lines, below, join(path, strconv.Itoa(i)), depth+1)
		}
	}
}
