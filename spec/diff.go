package spec

import (
	"slices"
	"strconv"
	"strings"
)

// DiffClass says when a difference between the file of a child and its live
// process is in force.
type DiffClass string

const (
	// DiffLive: it is in force already, the live process knows nothing of it.
	DiffLive DiffClass = "live"
	// DiffNextStart: the process would be the same; what is done around its next
	// start would not.
	DiffNextStart DiffClass = "next-start"
	// DiffRestart: the process would be another.
	DiffRestart DiffClass = "restart"
)

// Difference is one field of a child that two configurations have different
// values of.
type Difference struct {
	// Field is its key as a file has it: "stop.grace", "env.PORT".
	Field string `json:"field"`
	// Old and New are its values for people, without secrets; nil where it has
	// none.
	Old *string `json:"old"`
	New *string `json:"new"`
	// Masked: something is left out of Old or New, which may look alike then.
	Masked bool      `json:"masked,omitempty"`
	Class  DiffClass `json:"class"`
}

// Diff returns what is different in now from before, in the order of the keys of
// a file. Where the files lie and how the command is spelled is no difference.
func Diff(before, now *Child) []Difference {
	var c comparison
	c.children(before, now)
	return c.found
}

// Stale tells whether a process that was started with before would be started in
// another way with now: whether Diff has anything that is not DiffLive.
func Stale(before, now *Child) bool {
	// The hash has all but what is live, and some that is.
	if before == now || before.Hash != "" && before.Hash == now.Hash {
		return false
	}
	c := comparison{brief: true}
	c.children(before, now)
	return c.stale
}

// comparison compares two children.
type comparison struct {
	found []Difference
	// brief: only stale is asked for, so that nothing has to be put in words.
	brief, stale bool
}

// differ notes a difference; the texts are empty where there is no value.
func (c *comparison) differ(field string, class DiffClass, before, now string) {
	was, hid := Masked(before)
	is, hides := Masked(now)
	c.add(Difference{Field: field, Old: valued(was), New: valued(is), Masked: hid || hides, Class: class})
}

func (c *comparison) add(d Difference) {
	c.stale = c.stale || d.Class != DiffLive
	if !c.brief {
		c.found = append(c.found, d)
	}
}

func valued(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// scalar compares one value; text is how it is shown, empty for none.
func scalar[T comparable](c *comparison, field string, class DiffClass, before, now T, text func(T) string) {
	switch {
	case before == now:
	case c.brief:
		c.stale = c.stale || class != DiffLive
	default:
		c.differ(field, class, text(before), text(now))
	}
}

// pointed is scalar for what may be missing.
func pointed[T comparable](c *comparison, field string, class DiffClass, before, now *T, text func(T) string) {
	if before == now || before != nil && now != nil && *before == *now {
		return
	}
	if c.brief {
		c.stale = c.stale || class != DiffLive
		return
	}
	shown := func(p *T) string {
		if p == nil {
			return ""
		}
		return text(*p)
	}
	c.differ(field, class, shown(before), shown(now))
}

// words compares the words of a command.
func (c *comparison) words(field string, class DiffClass, before, now []string) {
	if slices.Equal(before, now) {
		return
	}
	was, hid := maskedLine(before)
	is, hides := maskedLine(now)
	c.add(Difference{Field: field, Old: valued(was), New: valued(is), Masked: hid || hides, Class: class})
}

// variables compares environments. An empty value is a value.
func (c *comparison) variables(before, now []EnvVar) {
	if slices.Equal(before, now) {
		return
	}
	was, is := valuesOf(before), valuesOf(now)
	for _, name := range namesIn(was, is) {
		old, had := was[name]
		value, has := is[name]
		if had == has && old == value {
			continue
		}
		d := Difference{Field: "env." + name, Class: DiffRestart}
		var hid, hides bool
		if had {
			old, hid = maskedValue(name, old)
			d.Old = &old
		}
		if has {
			value, hides = maskedValue(name, value)
			d.New = &value
		}
		d.Masked = hid || hides
		c.add(d)
	}
}

// valuesOf has the values that are in force: a later one wins.
func valuesOf(vars []EnvVar) map[string]string {
	values := make(map[string]string, len(vars))
	for _, v := range vars {
		values[v.Name] = v.Value
	}
	return values
}

// namesIn are the names of both, sorted.
func namesIn[T any](a, b map[string]T) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// limits compares those of setrlimit(2).
func (c *comparison) limits(before, now []Limit) {
	if slices.Equal(before, now) {
		return
	}
	was, is := map[string]Limit{}, map[string]Limit{}
	for _, l := range before {
		was[l.Name] = l
	}
	for _, l := range now {
		is[l.Name] = l
	}
	for _, name := range namesIn(was, is) {
		scalar(c, "limits."+name, DiffRestart, was[name], is[name], limitText)
	}
}

func limitText(l Limit) string {
	switch {
	case l.Name == "":
		return ""
	case l.Soft == l.Hard:
		return amountText(l.Soft)
	}
	return "soft " + amountText(l.Soft) + ", hard " + amountText(l.Hard)
}

func amountText(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// bytesText is n with the largest unit that files know in which it is whole.
func bytesText(n uint64) string {
	if n == 0 {
		return ""
	}
	for _, unit := range []struct {
		name string
		size uint64
	}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}} {
		if n%unit.size == 0 {
			return strconv.FormatUint(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatUint(n, 10)
}

func joined[T any](list []T, text func(T) string) string {
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = text(e)
	}
	return strings.Join(words, ", ")
}
