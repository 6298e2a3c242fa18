package spec

import (
	"math"
	"strconv"
	"strings"
	"sync"
)

// limitUnit is what the number of a resource limit counts.
type limitUnit string

const (
	inBytes        limitUnit = "bytes"
	inSeconds      limitUnit = "seconds"
	inMicroseconds limitUnit = "microseconds"
	inCount        limitUnit = "a count"
)

// limitNames are the limits of setrlimit(2) on Linux, with the units that the
// manual page gives them. RLIMIT_CPU is cpu_time here: `cpu` is what people look
// for when they want to limit processors.
var limitNames = []struct {
	name string
	unit limitUnit
}{
	{"as", inBytes}, {"core", inBytes}, {"cpu_time", inSeconds}, {"data", inBytes}, {"fsize", inBytes},
	{"locks", inCount}, {"memlock", inBytes}, {"msgqueue", inBytes}, {"nice", inCount}, {"nofile", inCount},
	{"nproc", inCount}, {"rss", inBytes}, {"rtprio", inCount}, {"rttime", inMicroseconds},
	{"sigpending", inCount}, {"stack", inBytes},
}

// wordUnlimited takes a limit away.
const wordUnlimited = "unlimited"

var limitRules = sync.OnceValue(func() []rule[draft] {
	rules := resourceRules()
	for _, l := range limitNames {
		example, kind := l.name+": 1024", KindCount
		if l.unit == inBytes {
			example, kind = l.name+": 64MiB", KindSize
		}
		key := Key{Name: l.name, Forms: []Form{Scalar, Mapping}, Kind: kind, Words: []string{wordUnlimited}, Keys: keysOf(limitPartRules(l.unit)),
			Example: example, Default: "the server's",
			Doc:  "RLIMIT_" + strings.ToUpper(strings.TrimSuffix(l.name, "_time")) + " of setrlimit(2), in " + string(l.unit),
			More: "One value for both halves, or `{soft: …, hard: …}`. It holds for each process by itself"}
		rules = append(rules, rule[draft]{key, func(v value, d *draft) { readLimit(v, l.unit, d) }})
	}
	return rules
})

// limitPart is a limit of which each half may be missing.
type limitPart struct{ soft, hard *uint64 }

func limitPartRules(unit limitUnit) []rule[limitPart] {
	kind := KindCount
	if unit == inBytes {
		kind = KindSize
	}
	return []rule[limitPart]{
		{Key{Name: "soft", Forms: []Form{Scalar}, Kind: kind, Words: []string{wordUnlimited}, Example: "soft: 1024", Required: true,
			Doc: "what is in force"},
			func(v value, p *limitPart) { p.soft = readLimitValue(v, unit) }},
		{Key{Name: "hard", Forms: []Form{Scalar}, Kind: kind, Words: []string{wordUnlimited}, Example: "hard: 4096", Required: true,
			Doc: "up to where the process can raise it"},
			func(v value, p *limitPart) { p.hard = readLimitValue(v, unit) }},
	}
}

func readLimits(v value, d *draft) {
	old := d.Limits
	d.Limits = nil
	readMapping(v, limitRules(), d)
	d.Limits = merged(old, d.Limits, func(l Limit) string { return l.Name })
}

func readLimit(v value, unit limitUnit, d *draft) {
	if v.form() == Scalar {
		if n := readLimitValue(v, unit); n != nil {
			d.Limits = append(d.Limits, Limit{v.rule.Name, *n, *n})
		}
		return
	}
	var part limitPart
	before := len(v.doc.errs)
	readMapping(v, limitPartRules(unit), &part)
	switch {
	case len(v.doc.errs) > before:
	case part.soft == nil:
		v.under("soft", v.line).failf("is missing, write soft and hard")
	case part.hard == nil:
		v.under("hard", v.line).failf("is missing, write soft and hard")
	case *part.soft > *part.hard:
		v.failf("soft is above hard, write a soft limit of at most hard")
	default:
		d.Limits = append(d.Limits, Limit{v.rule.Name, *part.soft, *part.hard})
	}
}

var sizeUnits = []struct {
	suffix string
	bytes  uint64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

func readLimitValue(v value, unit limitUnit) *uint64 {
	text, ok := v.text()
	if !ok {
		return nil
	}
	if text == wordUnlimited {
		n := Unlimited
		return &n
	}
	digits, factor := text, uint64(1)
	if unit == inBytes {
		digits, factor = cutSizeUnit(text)
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case err != nil && unit == inBytes:
		v.failf(`%s is no size, write bytes, a size like 64MB or 64MiB, or unlimited`, quoted(text))
	case err != nil:
		v.failf(`%s is no whole number (%s), write digits or unlimited`, quoted(text), unit)
	case n > math.MaxInt64/factor:
		v.failf("%s is too large, write unlimited", quoted(text))
	default:
		n *= factor
		return &n
	}
	return nil
}

// cutSizeUnit takes the unit off a size; one without a unit is in bytes.
func cutSizeUnit(text string) (digits string, factor uint64) {
	for _, u := range sizeUnits {
		if d, found := strings.CutSuffix(text, u.suffix); found {
			return strings.TrimSuffix(d, " "), u.bytes
		}
	}
	return text, 1
}

// ParseSize reads a size as files have it: digits, and perhaps a unit.
func ParseSize(text string) (bytes uint64, ok bool) {
	digits, factor := cutSizeUnit(text)
	n, err := strconv.ParseUint(digits, 10, 63)
	return n * factor, err == nil && n <= math.MaxInt64/factor
}

// readSize reads a number of bytes, at least least.
func readSize(v value, least uint64) (n uint64, ok bool) {
	text, ok := v.text()
	if !ok {
		return 0, false
	}
	digits, factor := cutSizeUnit(text)
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case err != nil:
		v.failf("%s is no size, write a number and kB, MB, MiB or GB, as in %s", quoted(text), v.rule.Example)
	case n > math.MaxInt64/factor:
		v.failf("%s is too large, write %s", quoted(text), v.rule.Example)
	case n*factor < least:
		v.failf("%s is too small, write at least %d bytes, as in %s", quoted(text), least, v.rule.Example)
	default:
		return n * factor, true
	}
	return 0, false
}
