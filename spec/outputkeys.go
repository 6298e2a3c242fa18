package spec

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// autoOutput is the output that is a file in the output directory.
const autoOutput = "auto"

// output is what the files say of a child's output. Which streams that makes is
// known once all of it has been read.
type output struct {
	// given: the key output stands somewhere, in line of the child's file, or 0.
	given bool
	line  int
	// auto is that of `output: auto`, else nil; stdout and stderr those of a list.
	auto, stdout, stderr *destination
	// dir is output_dir, empty for none.
	dir string
	// rotation is that of all streams.
	rotation rotation
}

// destination is where a stream goes.
type destination struct {
	// stdout or stderr is the path of a stream in a list.
	stdout, stderr string
	mode           OpenMode
	format         Format
	// timestamps and prefix are nil where the format is to decide.
	timestamps, prefix *bool
	onFull             OnFull
	rotation           rotation
}

func outputKey() Key {
	return Key{Name: "output", Forms: []Form{Scalar, List, Mapping}, Kind: KindChoice, Values: []string{autoOutput},
		Keys:    keysOf(destinationRules()),
		Element: &Key{Forms: []Form{Mapping}, Keys: keysOf(outputRules()), OneOf: []string{"stdout", "stderr"}},
		Example: "output: [{stdout: out.log, mode: append}]",
		Default: "`auto` where there is an `output_dir`, else the server's",
		Doc:     "where the streams go",
		More: "A list with an element for each stream, which may be one file; `auto`, both to `NAME.log` in `output_dir`; or a mapping, `auto` with any of the keys below but `stdout` and `stderr`. " +
			"A stream that is not named, as in `[]`, is the server's. See [output](output.md)"}
}

// outputRules are the keys of an element of the list.
var outputRules = sync.OnceValue(func() []rule[destination] {
	return append([]rule[destination]{
		{Key{Name: "stdout", Forms: []Form{Scalar}, Kind: KindFile, Example: "stdout: out.log",
			Doc: "the file of standard output", More: "A relative path is relative to the *server's* working directory, as in supervisor-rs"},
			func(v value, d *destination) { readText(v, &d.stdout) }},
		{Key{Name: "stderr", Forms: []Form{Scalar}, Kind: KindFile, Example: "stderr: err.log", Doc: "the file of standard error, likewise"},
			func(v value, d *destination) { readText(v, &d.stderr) }},
	}, destinationRules()...)
})

// autoRules are the keys of the mapping.
var autoRules = sync.OnceValue(func() []rule[destination] {
	rules := slices.Clone(outputRules())
	for i := range rules {
		if rules[i].Name == "stdout" || rules[i].Name == "stderr" {
			rules[i].read = func(v value, _ *destination) { v.failf("stands in a list, write output: [{%s}]", v.rule.Example) }
		}
	}
	return rules
})

// destinationRules are the keys that both have.
func destinationRules() []rule[destination] {
	return []rule[destination]{
		{Key{Name: "mode", Forms: []Form{Scalar}, Kind: KindChoice, Example: "mode: append", Values: []string{string(Create), string(Append)},
			Default: "`create`; `append` with `auto`", Doc: "`create` truncates the file at every start, `append` keeps what is there"},
			func(v value, d *destination) { readChoice(v, &d.mode) }},
		{Key{Name: "format", Forms: []Form{Scalar}, Kind: KindChoice, Example: "format: json", Values: []string{string(Text), string(JSON)},
			Default: "no pump", Doc: "a [pump](output.md#timestamps-prefixes-json-the-pump) writes the file, not the child itself: lines of text or of JSON"},
			func(v value, d *destination) { readChoice(v, &d.format) }},
		{Key{Name: "timestamps", Forms: []Form{Scalar}, Kind: KindBoolean, Example: "timestamps: true", Values: booleans,
			Default: "`true` with `json`, else `false`", Doc: "the time before each line, or as a member", More: "Without `format`, `true` means `format: text`"},
			func(v value, d *destination) { readFlag(v, &d.timestamps) }},
		{Key{Name: "prefix", Forms: []Form{Scalar}, Kind: KindBoolean, Example: "prefix: true", Values: booleans,
			Default: "as `timestamps`", Doc: "the child and the stream before each line, or as members", More: "Without `format`, `true` means `format: text`"},
			func(v value, d *destination) { readFlag(v, &d.prefix) }},
		{Key{Name: "on_full", Forms: []Form{Scalar}, Kind: KindChoice, Example: "on_full: block", Values: []string{string(Drop), string(Block)},
			Default: "`drop`", Doc: "what a pump does with a file that can take no more", More: "`drop` leaves lines out and counts them, `block` has the child wait"},
			func(v value, d *destination) { readChoice(v, &d.onFull) }},
		{streamRotateKey(), func(v value, d *destination) { readRotate(v, &d.rotation) }},
	}
}

func readFlag(v value, into **bool) {
	if c, ok := v.choice(); ok {
		on := c == "true"
		*into = &on
	}
}

// readOutput reads auto, auto with options, or a list of streams.
func readOutput(v value, d *draft) {
	o := &d.output
	o.given, o.line = true, v.line
	o.auto, o.stdout, o.stderr = nil, nil, nil
	switch v.form() {
	case List:
		for _, item := range v.items() {
			o.readElement(item)
		}
	case Mapping:
		auto, before := newAuto(), len(v.doc.errs)
		readMapping(v, autoRules(), auto)
		if len(v.doc.errs) == before && auto.check(v) {
			o.auto = auto
		}
	case Scalar:
		switch text, ok := v.text(); {
		case !ok:
		case text != autoOutput:
			v.failf("%s is not known, write auto or %s", quoted(text), v.rule.Example)
		default:
			o.auto = newAuto()
		}
	}
}

func newAuto() *destination { return &destination{mode: Append} }

func (o *output) readElement(item value) {
	if item.form() != Mapping {
		item.failf("an element is %s, write - stdout: out.log", item.form().noun())
		return
	}
	one, before := destination{mode: Create}, len(item.doc.errs)
	readMapping(item, outputRules(), &one)
	switch {
	case len(item.doc.errs) > before:
	case one.stdout != "" && one.stderr != "":
		item.failf("stdout and stderr stand in one element, write an element for each")
	case one.stdout == "" && one.stderr == "":
		item.failf("an element names no stream, write - stdout: out.log")
	case !one.check(item):
	case one.stdout != "":
		setDestination(item, "stdout", &o.stdout, one)
	default:
		setDestination(item, "stderr", &o.stderr, one)
	}
}

func setDestination(item value, name string, into **destination, d destination) {
	if *into != nil {
		item.under(name, item.line).failf("is given twice, leave one out")
		return
	}
	*into = &d
}

// check reports keys that contradict each other.
func (d *destination) check(v value) bool {
	switch {
	case d.onFull != "" && d.pumped() == "":
		v.under("on_full", v.line).failf("is for pumped output, write format: text beside it or leave it out")
		return false
	case isDevice(d.path()) && d.rotation.given && !d.rotation.off:
		v.under("rotate", v.line).failf("%s is no file to rotate, leave rotate out", printable(shortened(d.path())))
		return false
	}
	return true
}

func (d *destination) path() string { return d.stdout + d.stderr }

// pumped is the format of a pump; empty where there is none.
func (d *destination) pumped() Format {
	if d.format == "" && (or(d.timestamps, false) || or(d.prefix, false)) {
		return Text
	}
	return d.format
}

// isDevice tells whether a path is that of a device, by its name.
func isDevice(path string) bool {
	path = filepath.Clean(path)
	below := func(dir string) bool { return strings.HasPrefix(path, dir+"/") }
	return below("/dev") && !below("/dev/shm") || below("/proc")
}

// usesAuto: the streams go to a file in dir.
func (o *output) usesAuto() bool { return o.auto != nil || !o.given && o.dir != "" }

// check reports what only the whole of a child's file shows to be wrong.
func (o *output) check(doc *document) {
	switch {
	case o.auto != nil && o.dir == "":
		doc.failf(o.line, "output", "auto needs a directory, write output_dir: /var/log/kita here or in server.yml")
	case o.stdout == nil || o.stderr == nil || filepath.Clean(o.stdout.path()) != filepath.Clean(o.stderr.path()):
	case !sameRotation(o.listed(o.stdout).Rotate, o.listed(o.stderr).Rotate):
		doc.failf(o.line, "output", "stdout and stderr are one file, write the same rotate for both, or one for the whole child")
	}
}

func sameRotation(a, b *Rotate) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// streams are the streams of the child name; nil is the server's.
func (o *output) streams(name string) (stdout, stderr *Stream) {
	if o.usesAuto() {
		return o.automatic(name), o.automatic(name)
	}
	return o.listed(o.stdout), o.listed(o.stderr)
}

// automatic is rotated unless something says otherwise.
func (o *output) automatic(name string) *Stream {
	d := o.auto
	if d == nil {
		d = newAuto()
	}
	s := d.stream(filepath.Join(o.dir, name+".log"))
	s.Rotate = d.rotation.over(o.rotation).rotate()
	return s
}

// listed is rotated only if something says so.
func (o *output) listed(d *destination) *Stream {
	if d == nil {
		return nil
	}
	s := d.stream(d.path())
	if r := d.rotation.over(o.rotation); r.given && !isDevice(s.Path) {
		s.Rotate = r.rotate()
	}
	return s
}

// stream is d without its rotation.
func (d *destination) stream(path string) *Stream {
	s := &Stream{Path: path, Mode: d.mode, Format: d.pumped()}
	if s.Format != "" {
		s.Timestamps = or(d.timestamps, s.Format == JSON)
		s.Prefix = or(d.prefix, s.Format == JSON)
		s.OnFull = cmp.Or(d.onFull, Drop)
	}
	return s
}
