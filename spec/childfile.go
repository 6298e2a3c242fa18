package spec

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"unique"

	"go.yaml.in/yaml/v3"
)

// Defaults is the `defaults` mapping of server.yml, validated and frozen.
type Defaults struct{ base draft }

// same tells whether children read with d and with other come out alike.
func (d *Defaults) same(other *Defaults) bool {
	if d == nil || other == nil || d == other {
		return d == other
	}
	return reflect.DeepEqual(d.base, other.base)
}

func (d *Defaults) draft() draft {
	if d == nil {
		return newDraft()
	}
	return d.base
}

func readDefaults(v value) *Defaults {
	rules := slices.Clone(defaultsRules())
	for _, r := range childRules() {
		if !slices.Contains(namesOf(rules), r.Name) {
			r.read = func(v value, _ *draft) { v.failf("has no default, write it into the file of each child") }
			rules = append(rules, r)
		}
	}
	d := Defaults{base: newDraft()}
	before := len(v.doc.errs)
	readMapping(v, rules, &d.base)
	if len(v.doc.errs) > before {
		return nil
	}
	d.base.output.line = 0 // it is of another file than the child's
	return &d
}

// withOutputDir is d with dir as its output_dir unless it has one, and with that
// relative to home. It may be d itself.
func (d *Defaults) withOutputDir(home, dir string) *Defaults {
	if d == nil && dir != "" {
		d = &Defaults{base: newDraft()}
	}
	if d == nil {
		return nil
	}
	at := &d.base.output.dir
	if *at = cmp.Or(*at, dir); *at != "" {
		*at = within(home, *at)
	}
	return d
}

// LoadChild reads the child file at the path file, which lies in the directory
// that server.yml spells loadPath. The error is FileErrors where the file was
// read but is wrong; it is fs.ErrNotExist where there is none.
func LoadChild(loadPath, file string, defaults *Defaults) (*Child, error) {
	data, err := ReadFile(file)
	if err != nil {
		return nil, err
	}
	return ParseChild(loadPath, file, data, defaults)
}

// ParseChild is LoadChild for the content of a file. The error is FileErrors,
// with everything that is wrong.
func ParseChild(loadPath, file string, data []byte, defaults *Defaults) (*Child, error) {
	doc := &document{file: file}
	name, ok := NameOf(filepath.Base(file))
	if !ok {
		doc.failf(1, "name", "%s is no file of a child, name it NAME.yml or NAME.yaml", quoted(filepath.Base(file)))
	} else if err := ValidName(name); err != nil {
		doc.failf(1, "name", "%v, rename the file", err)
	}
	d := defaults.draft()
	d.Name, d.File, d.LoadPath = name, file, loadPath
	doc.readChild(doc.parse(data), &d)
	d.output.check(doc)
	if err := doc.err(); err != nil {
		return nil, err
	}
	return d.finish()
}

func (d *document) readChild(root *yaml.Node, into *draft) {
	line := 1
	if root != nil {
		v := d.value(root, "", &Key{Name: "KEY", Forms: []Form{Mapping}, Example: "command: ./server --port 80"})
		line = v.line
		if !v.rootAdmitted() {
			return
		}
		readMapping(v, childRules(), into)
		if hasKey(v, "command") {
			return
		}
	}
	// Where nothing could be read at all, that is the error.
	if root != nil || len(d.errs) == 0 {
		d.failf(line, "command", "is missing, write command: ./server --port 80")
	}
}

// rootAdmitted checks that the whole document is a mapping. An empty one is a
// mapping without keys.
func (v value) rootAdmitted() bool {
	if v.form() == Mapping || v.empty() {
		return v.tagKnown()
	}
	v.doc.failf(v.line, documentKey, "the file is %s, write lines of KEY: VALUE, as in %s", v.form().noun(), v.rule.Example)
	return false
}

func hasKey(v value, name string) bool {
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		if v.node.Content[i].Value == name {
			return true
		}
	}
	return false
}

// finish makes the child of what was read.
func (d draft) finish() (*Child, error) {
	c := d.Child
	home, err := filepath.Abs(filepath.Dir(c.File))
	if err != nil {
		return nil, fmt.Errorf("directory of %s: %w", c.File, err)
	}
	c.Command = append(append([]string{}, d.words...), d.args...)
	// Thousands of children mostly have one.
	c.Dir = unique.Make(within(home, c.Dir)).Value()
	if c.EnvFile != "" {
		c.EnvFile = within(home, c.EnvFile)
	}
	if d.output.dir != "" {
		d.output.dir = within(home, d.output.dir)
	}
	c.Stdout, c.Stderr = d.output.streams(c.Name)
	c.Hash = digest(c)
	return &c, nil
}

// within is path, relative to dir where it is relative.
func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// digest is the hash of what is in force for a process: neither where it is
// written nor how the command is spelled is part of it. Nor are rotation and
// metrics, which need no new process to change.
func digest(c Child) string {
	c.File, c.LoadPath, c.CommandLine, c.Hash = "", "", "", ""
	c.Stdout, c.Stderr = c.Stdout.unrotated(), c.Stderr.unrotated()
	c.Metrics = nil
	canonical, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("spec: a child does not marshal: %v", err))
	}
	sum := sha256.Sum256(withCodes(canonical, c.Restart.Success))
	return hex.EncodeToString(sum[:16])
}

// alike tells whether c and other are one configuration, with what the hash
// leaves out.
func (c *Child) alike(other *Child) bool {
	return c.Hash == other.Hash && reflect.DeepEqual(c.Stdout, other.Stdout) && reflect.DeepEqual(c.Stderr, other.Stderr) &&
		reflect.DeepEqual(c.Metrics, other.Metrics)
}

// unrotated is a copy of s without rotation.
func (s *Stream) unrotated() *Stream {
	if s == nil {
		return nil
	}
	plain := *s
	plain.Rotate = nil
	return &plain
}

// withCodes is a child in JSON with a code beside each signal of restart.success, as
// it had one when the first hashes were saved: a new version of kita must not find
// that a child has changed. No text in it can look like the member, as a quote in a
// text is escaped.
func withCodes(canonical []byte, success []ExitClass) []byte {
	if len(success) == 0 {
		return canonical
	}
	type both struct {
		Code   int    `json:"code"`
		Signal Signal `json:"signal,omitempty"`
	}
	var before []both
	for _, class := range success {
		before = append(before, both(class))
	}
	member := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("spec: the exits of a child do not marshal: %v", err))
		}
		return append([]byte(`"success":`), text...)
	}
	return bytes.Replace(canonical, member(success), member(before), 1)
}
