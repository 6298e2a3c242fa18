package spec

import (
	"slices"
	"strings"
	"sync"
)

// draft is a child while its file is read. It begins as what holds without the
// file, so that a key that is read replaces, and one that is not stays.
type draft struct {
	Child
	words  []string
	args   []string
	output output
}

func newDraft() draft {
	return draft{Child: Child{
		Stop: Stop{Signal: sigterm, Grace: defaultGrace},
		Restart: Restart{
			Policy:  Never,
			Backoff: Backoff{Initial: defaultInitial, Max: defaultMax, Factor: 2},
		},
	}}
}

// childRules is the one list of the keys of a child's file. It is made once, and
// read only: thousands of files would spend most of their time on it.
var childRules = sync.OnceValue(func() []rule[draft] {
	return slices.Concat([]rule[draft]{
		{Key{Name: "command", Forms: []Form{Scalar, List}, Kind: KindCommand, Element: scalars(KindAny), MinItems: 1,
			Example: "command: ./server --port 80", Required: true, Doc: "the program and its arguments",
			More: "Text is split as a shell splits words, and nothing is expanded; a list is taken as it is. `./server` is looked up in `dir`"}, readCommand},
		{Key{Name: "args", Forms: []Form{List}, Element: scalars(KindAny), Example: "args: [--port, 80]", Default: "none",
			Doc: "further arguments"}, readArgs},
	}, defaultsRules(), []rule[draft]{
		{Key{Name: "metrics", Forms: []Form{Mapping}, Example: "metrics: {port: 9100}", Keys: keysOf(metricsRules()), Default: "none",
			Doc: "where the child serves metrics of its own, for whoever collects them", More: "A change is no reason for a restart"}, readMetrics},
	})
})

// defaultsRules are the keys of a child that can have a default in server.yml.
var defaultsRules = sync.OnceValue(func() []rule[draft] {
	return []rule[draft]{
		{Key{Name: "dir", Forms: []Form{Scalar}, Kind: KindDirectory, Example: "dir: /srv/web", Default: "the directory of the file",
			Doc: "the working directory; relative to the directory of the file"},
			func(v value, d *draft) { readText(v, &d.Dir) }},
		{Key{Name: "env", Forms: []Form{Mapping, List}, Value: scalars(KindAny), Element: scalars(KindAssignment), Example: "env: {PORT: 80}",
			Default: "none", Doc: "variables added to the server's environment"}, readEnv},
		{Key{Name: "env_file", Forms: []Form{Scalar}, Kind: KindFile, Example: "env_file: web.env", Default: "none",
			Doc: "a file of `NAME=VALUE` lines, read at every start, before `env`", More: "Relative to the directory of the file. See [env_file](files.md#env_file)"},
			func(v value, d *draft) { readText(v, &d.EnvFile) }},
		{outputKey(), readOutput},
		{Key{Name: "output_dir", Forms: []Form{Scalar}, Kind: KindDirectory, Example: "output_dir: /var/log/kita", Default: "that of server.yml",
			Doc: "the directory of `NAME.log`, where a child without `output` writes to; relative to the directory of the file"},
			func(v value, d *draft) { readText(v, &d.output.dir) }},
		{rotateKey(), func(v value, d *draft) { readRotate(v, &d.output.rotation) }},
		{Key{Name: "user", Forms: []Form{Scalar}, Kind: KindAccount, Example: "user: www-data", Default: "the server's", Doc: "who it runs as"},
			func(v value, d *draft) { readAccount(v, &d.User) }},
		{Key{Name: "group", Forms: []Form{Scalar}, Kind: KindAccount, Example: "group: www-data", Default: "that of the user", Doc: "its group"},
			func(v value, d *draft) { readAccount(v, &d.Group) }},
		{Key{Name: "umask", Forms: []Form{Scalar}, Kind: KindOctal, Example: "umask: 022", Default: "the server's", Doc: "file mode creation mask"}, readUmask},
		{Key{Name: "nice", Forms: []Form{Scalar}, Kind: KindInteger, Min: -20, Max: 19, Example: "nice: 10", Default: "the server's",
			Doc: "scheduling priority"}, readNice},
		{Key{Name: "limits", Forms: []Form{Mapping}, Example: "limits: {nofile: 65536}", Keys: keysOf(limitRules()), Default: "none, and the server's",
			Doc: "limits on the whole child and on each of its processes", More: "See [limits](files.md#limits)"}, readLimits},
		{Key{Name: "stop", Forms: []Form{Mapping}, Example: "stop: {signal: TERM, grace: 10s}", Keys: keysOf(stopRules()),
			Doc: "how it is asked to end"},
			func(v value, d *draft) { readMapping(v, stopRules(), &d.Stop) }},
		{Key{Name: "restart", Forms: []Form{Scalar, Mapping}, Kind: KindChoice, Example: "restart: on-failure", Values: policies, Keys: keysOf(restartRules()),
			Default: "`never`", Doc: "which ends are followed by a new start, and how fast", More: "A policy, or a mapping of the keys below"}, readRestart},
		{Key{Name: "repeat", Forms: []Form{Mapping}, Example: "repeat: {action: restart, seconds: 60}", Keys: keysOf(repeatRules()), Default: "none",
			Doc: "an action that runs once, so long after a start, if the child is still the same run"}, readRepeat},
		{Key{Name: "hooks", Forms: []Form{List}, Example: "hooks: [{prehook: start db}]", Default: "none",
			Element: &Key{Forms: []Form{Mapping}, Keys: keysOf(hookRules()), OneOf: []string{"prehook", "posthook"}},
			Doc:     "commands to other children before the start and after the stop", More: "An element for each"}, readHooks},
	}
})

func readCommand(v value, d *draft) {
	d.words = nil
	if v.form() == List {
		v.rule = &Key{Name: v.rule.Name, Example: "command: [./server, --port, 80]"}
		d.words = v.texts(value.text)
		switch {
		case len(v.node.Content) == 0:
			v.failf("is empty, write %s", v.rule.Example)
		case len(d.words) > 0 && d.words[0] == "":
			v.failf("the program is empty, write %s", v.rule.Example)
		}
		d.CommandLine = displayWords(d.words)
		return
	}
	line, ok := v.filledText()
	if !ok {
		return
	}
	words, err := splitCommand(line)
	if err != nil {
		v.failf("%v", err)
		return
	}
	d.words, d.CommandLine = words, strings.TrimSpace(line)
}

func readArgs(v value, d *draft) { d.args = v.texts(value.text) }

// readAccount reads a user or a group. Whether it exists is seen at the start.
func readAccount(v value, into *string) {
	s, ok := v.filledText()
	switch {
	case !ok:
	case strings.ContainsFunc(s, func(r rune) bool { return r == ':' || r <= ' ' || r == 0x7f }):
		v.failf("%s is no name or number, write user and group as two keys", quoted(s))
	default:
		*into = s
	}
}

func readEnv(v value, d *draft) {
	var read []EnvVar
	if v.form() == List {
		seen := map[string]int{}
		for _, item := range v.items() {
			if e, ok := readAssignment(item, seen); ok {
				read = append(read, e)
			}
		}
	} else {
		for _, f := range v.fields() {
			if e := (EnvVar{Name: f.name}); f.nameOK() {
				if s, ok := f.text(); ok {
					e.Value = s
					read = append(read, e)
				}
			}
		}
	}
	d.Env = merged(d.Env, read, func(e EnvVar) string { return e.Name })
}

func readAssignment(item value, seen map[string]int) (EnvVar, bool) {
	s, ok := item.text()
	if !ok {
		return EnvVar{}, false
	}
	name, text, found := strings.Cut(s, "=")
	if !found || name == "" {
		// The whole of it may be a secret.
		item.failf("an entry is no NAME=VALUE, write PORT=80")
		return EnvVar{}, false
	}
	if line, twice := seen[name]; twice {
		item.under(name, item.line).failf("is given twice, first in line %d, leave one out", line)
		return EnvVar{}, false
	}
	seen[name] = item.line
	return EnvVar{Name: name, Value: text}, true
}

// nameOK checks the name of a variable.
func (f field) nameOK() bool {
	if f.name == "" || strings.ContainsAny(f.name, "=\x00") {
		f.failf("%s is no name of a variable, write NAME: VALUE", quoted(f.name))
		return false
	}
	return true
}

// merged is old with the elements of own put in by name, sorted by name: the
// order in a file means nothing, and must not change the hash.
func merged[T any](old, own []T, name func(T) string) []T {
	all := slices.Clone(own)
	for _, o := range old {
		if !slices.ContainsFunc(own, func(n T) bool { return name(n) == name(o) }) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	return all
}

func repeatRules() []rule[Repeat] {
	return []rule[Repeat]{
		{Key{Name: "action", Forms: []Form{Scalar}, Kind: KindVerb, Example: "action: restart", Values: changes, Default: "`restart`",
			Doc: "what is done"},
			func(v value, r *Repeat) {
				if verb, ok := readVerb(v); ok {
					r.Action = verb
				}
			}},
		{Key{Name: "seconds", Forms: []Form{Scalar}, Kind: KindInteger, Example: "seconds: 60", Required: true, Min: 1, Max: int(longest.D().Seconds()),
			Doc: "how long after the start"},
			func(v value, r *Repeat) {
				if n, ok := v.integer(); ok {
					r.Every = seconds(n)
				}
			}},
	}
}

func readRepeat(v value, d *draft) {
	r, before := Repeat{Action: VerbRestart}, len(v.doc.errs)
	readMapping(v, repeatRules(), &r)
	if r.Every == 0 && len(v.doc.errs) == before {
		v.under("seconds", v.line).failf("is missing, write seconds: 60")
	}
	d.Repeat = &r
}

// changes are the verbs of hooks and repeat, in the spelling that is shown.
var changes = []string{string(VerbStart), string(VerbRestart), string(VerbStop), string(VerbTrystart)}

func readVerb(v value) (Verb, bool) {
	word, ok := v.text()
	if !ok {
		return "", false
	}
	verb, known := ParseVerb(word)
	if !known || !verb.Changes() {
		v.failf("%s cannot be done here, write %s", quoted(word), choices(changes))
		return "", false
	}
	return verb, true
}

// oneHook is an element of hooks.
type oneHook struct{ pre, post *Hook }

func hookRules() []rule[oneHook] {
	return []rule[oneHook]{
		{Key{Name: "prehook", Forms: []Form{Scalar}, Kind: KindHook, Example: "prehook: start db",
			Doc: "runs before start, restart and trystart", More: "The prehooks of its target run first"},
			func(v value, h *oneHook) { h.pre = readHook(v) }},
		{Key{Name: "posthook", Forms: []Form{Scalar}, Kind: KindHook, Example: "posthook: start cleanup",
			Doc: "runs after `stop NAME` and after the stop half of trystart", More: "Not after restart, `stop all`, `kill`, or an end by itself"},
			func(v value, h *oneHook) { h.post = readHook(v) }},
	}
}

func readHooks(v value, d *draft) {
	d.Prehook, d.Posthook = nil, nil
	for _, item := range v.items() {
		if item.form() != Mapping {
			item.failf("an element is %s, write - prehook: start db", item.form().noun())
			continue
		}
		one, before := oneHook{}, len(v.doc.errs)
		readMapping(item, hookRules(), &one)
		switch {
		case len(v.doc.errs) > before:
		case one.pre != nil && one.post != nil:
			item.failf("prehook and posthook stand in one element, write an element for each")
		case one.pre != nil:
			setHook(item, "prehook", &d.Prehook, one.pre)
		case one.post != nil:
			setHook(item, "posthook", &d.Posthook, one.post)
		default:
			item.failf("an element is empty, write - prehook: start db")
		}
	}
}

func setHook(item value, name string, into **Hook, h *Hook) {
	if *into != nil {
		item.under(name, item.line).failf("is given twice, leave one out")
		return
	}
	*into = h
}

func readHook(v value) *Hook {
	text, ok := v.filledText()
	if !ok {
		return nil
	}
	words := strings.Fields(text)
	if len(words) != 2 {
		v.failf("%s is no verb and child, write %s", quoted(text), v.rule.Example)
		return nil
	}
	verb, known := ParseVerb(words[0])
	if !known || !verb.Changes() {
		v.failf("a hook cannot %s, write %s and a child", printable(shortened(words[0])), choices(changes))
		return nil
	}
	if err := ValidName(words[1]); err != nil {
		v.failf("%v, write %s", err, v.rule.Example)
		return nil
	}
	return &Hook{Verb: verb, Child: words[1]}
}
