package spec

import (
	"path"
	"strings"
)

// accessRules are the keys of an element of access.
func accessRules() []rule[AccessRule] {
	return []rule[AccessRule]{
		{Key{Name: "keys", Forms: []Form{List}, Element: scalars(KindKeyPattern), MinItems: 1, Example: "keys: [ops, 'ci-*']", Required: true,
			Doc: "names of keys: `NAME` of `NAME.pem`"},
			func(v value, r *AccessRule) { r.Keys = readGlobs(v, value.keyGlob) }},
		{Key{Name: "verbs", Forms: []Form{List}, Element: &Key{Forms: []Form{Scalar}, Kind: KindChoice, Values: rights}, MinItems: 1,
			Example: "verbs: [read, operate]", Required: true, Doc: "what they may do",
			More: "`read` is `check`, `info`, `logs`, `why`, `events` and the watch of changes; `operate` is `start`, `stop`, `restart`, `trystart` and `rotate`; `admin` is both, and with every child also the commands to the server. See [access](files.md#access)"}, readRights},
		{Key{Name: "children", Forms: []Form{List}, Element: scalars(KindChildPattern), MinItems: 1, Example: "children: ['web-*']", Default: "`[\"*\"]`",
			Doc: "to which children"},
			func(v value, r *AccessRule) { r.Children = readGlobs(v, value.childGlob) }},
	}
}

var rights = []string{string(Read), string(Operate), string(Admin)}

func readAccess(v value, s *serverDraft) {
	access := Access{}
	for _, item := range v.items() {
		if item.form() != Mapping {
			item.failf("an element is %s, write - %s", item.form().noun(), accessExample)
			continue
		}
		r := AccessRule{}
		readMapping(item, accessRules(), &r)
		if v.doc.closed {
			return
		}
		for _, k := range keysOf(accessRules()) {
			if k.Required && !hasKey(item, k.Name) {
				item.under(k.Name, item.line).failf("is missing, write %s", k.Example)
			}
		}
		if !hasKey(item, "children") {
			r.Children = []string{"*"}
		}
		access = append(access, r)
	}
	s.Access = access
}

const accessExample = "{keys: [ops], verbs: [admin]}"

// readGlobs reads a list that is not empty. An empty one would be a rule
// without effect, which nobody writes on purpose.
func readGlobs(v value, read func(value) (string, bool)) []string {
	if len(v.node.Content) == 0 {
		v.failf("is empty, write %s", v.rule.Example)
	}
	return v.texts(read)
}

// glob is a pattern of path.Match.
func (v value) glob() (string, bool) {
	text, ok := v.filledText()
	if !ok {
		return "", false
	}
	if _, err := path.Match(text, ""); err != nil {
		v.failf("%s is no pattern: a [ has no ], or a \\ ends it, write %s", quoted(text), v.rule.Example)
		return "", false
	}
	return text, true
}

// keyGlob refuses what is no name of a key but that of its file.
func (v value) keyGlob() (string, bool) {
	text, ok := v.glob()
	if !ok {
		return "", false
	}
	name := strings.TrimSuffix(strings.TrimSuffix(path.Base(text), ".pem"), ".pub")
	if name != text {
		v.failf("%s is the name of a file, write that of the key: %s", quoted(text), printable(shortened(name)))
		return "", false
	}
	return text, true
}

// childGlob refuses a name that no child can have.
func (v value) childGlob() (string, bool) {
	text, ok := v.glob()
	switch {
	case !ok:
		return "", false
	case text == All:
		v.failf(`%s is reserved and cannot be the name of a child, write children: ["*"] for every child`, quoted(text))
		return "", false
	case strings.ContainsAny(text, `*?[\`):
		return text, true
	}
	if err := ValidName(text); err != nil {
		v.failf("%v, write %s", err, v.rule.Example)
		return "", false
	}
	return text, true
}

func readRights(v value, r *AccessRule) {
	if len(v.node.Content) == 0 {
		v.failf("is empty, write %s", v.rule.Example)
	}
	for _, item := range v.items() {
		text, ok := item.text()
		if !ok {
			continue
		}
		switch right := Right(text); right {
		case Read, Operate, Admin:
			r.Rights = append(r.Rights, right)
			continue
		}
		if right, known := rightOf(text); known {
			item.failf("%s is not given by itself, write %s, which has it", quoted(text), right)
		} else {
			item.failf("%s is not known, write %s", quoted(text), choices(rights))
		}
	}
}

// rightOf is the class that a word stands in.
func rightOf(word string) (Right, bool) {
	verb, _ := ParseVerb(word)
	switch {
	case verb.Changes():
		return Operate, true
	case verb == VerbCheck, verb == VerbInfo, word == "watch", word == "logs", word == "metrics":
		return Read, true
	case verb == VerbKill, word == "upgrade", word == "validate", word == All, word == "*":
		return Admin, true
	}
	return "", false
}
