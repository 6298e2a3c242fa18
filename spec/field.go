package spec

import (
	"slices"
	"strings"
)

// Field is a key in its place in a file.
type Field struct {
	File FileType
	// Path is as in the reference: restart.backoff.max; empty for the whole file.
	Path string
	Key  Key
	// above are the keys that Key stands below, the outermost first.
	above []*Key
}

// Name is the path with the file before it, by which a field is found in one file
// only.
func (f *Field) Name() string {
	if f.Path == "" {
		return f.File.Name
	}
	return f.File.Name + "." + f.Path
}

// Fields are those directly below.
func (f *Field) Fields() []Field {
	var below []Field
	for _, k := range f.Key.Fields() {
		above := f.above
		if f.Path != "" {
			above = append(slices.Clone(above), &f.Key)
		}
		below = append(below, Field{f.File, strings.TrimPrefix(f.Path+"."+k.Name, "."), k, above})
	}
	return below
}

// Example is a piece of a file that has the field.
func (f *Field) Example() string {
	if f.Path == "" {
		return f.File.Example
	}
	var b strings.Builder
	indent, dash := "", ""
	chain := append(slices.Clone(f.above), &f.Key)
	for i, k := range f.above {
		b.WriteString(indent + dash + k.Name + ":\n")
		indent, dash = indent+strings.Repeat(" ", len(dash))+"  ", ""
		switch below := chain[i+1].Name; {
		case keyIn(k.Keys, below):
		case k.Element != nil && keyIn(k.Element.Keys, below):
			dash = "- "
		default:
			b.WriteString(indent + "NAME:\n")
			indent += "  "
		}
	}
	b.WriteString(indent + dash + f.Key.Example)
	return b.String()
}

func keyIn(keys []Key, name string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name })
}

// Roots are the files as fields.
func Roots() []Field {
	var roots []Field
	for _, f := range FileTypes() {
		roots = append(roots, Field{File: f, Key: f.Key()})
	}
	return roots
}

// FindFields returns the fields of that path, in each file that has one. The path
// may begin with the name of a file, and that alone is the file.
func FindFields(path string) []Field {
	var found []Field
	for _, root := range Roots() {
		if path == root.File.Name {
			found = append(found, root)
			continue
		}
		if below, ok := strings.CutPrefix(path, root.File.Name+"."); ok {
			if f, ok := root.find(below); ok {
				found = append(found, f)
			}
		}
	}
	for _, root := range Roots() {
		if f, ok := root.find(path); ok {
			found = append(found, f)
		}
	}
	return found
}

func (f *Field) find(path string) (Field, bool) {
	first, rest, deeper := strings.Cut(path, ".")
	for _, below := range f.Fields() {
		switch {
		case below.Key.Name != first:
		case deeper:
			return below.find(rest)
		default:
			return below, true
		}
	}
	return Field{}, false
}

// AllFields are all fields of all files, each before those below it.
func AllFields() []Field {
	var all []Field
	var add func(Field)
	add = func(f Field) {
		all = append(all, f)
		for _, below := range f.Fields() {
			add(below)
		}
	}
	for _, root := range Roots() {
		add(root)
	}
	return all
}

// SuggestFields returns what a path that finds nothing was probably meant to be, at
// most three paths that do.
func SuggestFields(path string) []string {
	var paths []string
	for _, f := range AllFields() {
		for _, p := range []string{f.Path, f.Name()} {
			// A default of all children is the child's own field, said at greater length.
			if p != "" && !strings.HasPrefix(f.Path, "defaults.") && !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	cut := strings.LastIndexByte(path, '.')
	parent, last := path[:max(cut, 0)], path[cut+1:]
	var siblings, ends []string
	for _, p := range paths {
		at := strings.LastIndexByte(p, '.')
		if p[:max(at, 0)] == parent {
			siblings = append(siblings, p[at+1:])
		}
		if p[at+1:] == last && !slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(p, "."+end) }) {
			ends = append(ends, p)
		}
	}
	if meant, ok := nearest(last, siblings); ok {
		return []string{strings.TrimPrefix(parent+"."+meant, ".")}
	}
	if len(ends) > 0 {
		return ends[:min(len(ends), 3)]
	}
	if meant, ok := nearest(path, paths); ok {
		return []string{meant}
	}
	return nil
}
