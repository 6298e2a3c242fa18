package schema

import (
	"slices"
	"strings"

	"kita/spec"
)

// Patterns have to mean the same to the regular expressions of JavaScript, which
// JSON Schema asks for, and to those of Go, which the tests use.
const (
	someText = `\S`
	// unit and number are those of time.ParseDuration.
	unit   = `(ns|us|µs|μs|ms|s|m|h)`
	number = `([0-9]+\.?[0-9]*|\.[0-9]+)`
	zero   = `(0+\.?0*|\.0+)`
	// durations also have days, before all else; what is negative can only be 0.
	durations = `^([0-9]+d(0|(` + number + unit + `)*)|\+?(` + number + unit + `)+|-(` + zero + unit + `)+)$`
	digits    = `[0-9]+`
	size      = digits + `( ?(KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB|B))?`
	// name has no character that spec.ValidName refuses.
	name = `[^.,;/\x00-\x20\x7f]+`
	// octet and port are numbers of their range; only a port may begin with zeros.
	octet = `(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	port  = `0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])`
)

// signals are those of Linux, also where this runs elsewhere.
var signals = []string{
	"HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
	"CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
}

// scalar is the schema of a scalar of k. YAML takes 80 for a number and true for a
// boolean where kita takes text, so text may be either.
func (m *maker) scalar(k *spec.Key) *node {
	text := &node{Type: []string{"string", "number", "boolean"}, Pattern: someText}
	switch k.Kind {
	case spec.KindAny:
		text.Type, text.Pattern = []string{"string", "number", "boolean", "null"}, ""
	case spec.KindText, spec.KindName, spec.KindFile, spec.KindDirectory, spec.KindCommand, spec.KindHost:
	case spec.KindAccount:
		text.Pattern = `^[^:\x00-\x20\x7f]+$`
	case spec.KindChild:
		text.Pattern, text.MaxLength, text.Not = "^"+name+"$", 200, &node{Enum: reserved()}
	case spec.KindChildPattern:
		text.Pattern, text.Not = `^(`+name+`|.*[*?\[\\].*)$`, &node{Enum: reserved()}
	case spec.KindKeyPattern:
		text.Not = &node{Type: "string", Pattern: `./|/.|\.(pem|pub)$`}
	case spec.KindChoice:
		return &node{Enum: k.Values}
	case spec.KindVerb:
		return &node{Enum: spellings(k.Values)}
	case spec.KindBoolean:
		return &node{Type: []string{"boolean", "string"}, Pattern: "^(" + strings.Join(k.Values, "|") + ")$", PatternMessage: "true or false"}
	case spec.KindDuration:
		n := m.define("duration", &node{Type: "string", Pattern: durations, PatternMessage: message(k.Kind)})
		if k.Least != "" {
			n.Pattern, n.PatternMessage = "[1-9]", "more than 0s"
		}
		return n
	case spec.KindSignal:
		return m.define("signal", &node{Type: []string{"string", "integer"}, Minimum: at(1), Maximum: at(64),
			Pattern: `^(` + signalNames() + `|\+?0*([1-9]|[1-5][0-9]|6[0-4]))$`, PatternMessage: message(k.Kind)})
	case spec.KindExit:
		return m.define("exit", &node{Type: []string{"integer", "string"}, Minimum: at(0), Maximum: at(255),
			Pattern: `^(` + signalNames() + `|[-+]?` + digits + `)$`, PatternMessage: message(k.Kind)})
	default:
		return numeric(k)
	}
	return text
}

// numeric is the schema of a scalar that is some kind of number, or an address.
func numeric(k *spec.Key) *node {
	n := &node{Type: []string{"integer", "string"}, PatternMessage: message(k.Kind)}
	pattern := ""
	switch k.Kind {
	case spec.KindInteger:
		n.Minimum, n.Maximum, pattern = at(k.Min), at(k.Max), `[-+]?`+digits
	case spec.KindNumber:
		n.Type, n.Minimum, n.Maximum = []string{"number", "string"}, at(k.Min), at(k.Max)
		pattern = `\+?[0-9.][0-9a-fA-FxXpP_.+-]*`
	case spec.KindSize:
		least, _ := spec.ParseSize(k.Least)
		n.Minimum, pattern = at(int(least)), size
	case spec.KindCount:
		n.Minimum, pattern = at(k.Min), digits
	case spec.KindProcessors:
		n.Type, n.ExclusiveMinimum, n.Maximum = []string{"number", "string"}, at(0), at(8192)
		pattern = digits + `(\.[0-9]{1,3})?`
	case spec.KindOctal:
		n.Minimum, n.Maximum, pattern = at(0), at(777), `(0o)?[0-7]+`
	case spec.KindAddress:
		n.Type, pattern = "string", octet+`(\.`+octet+`){3}|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*(%.+)?`
	case spec.KindHostPort:
		n.Type, pattern = "string", `(\[[^\]/\x00-\x20\x7f]*\]|[^:/\[\]\x00-\x20\x7f]*):`+port
	case spec.KindHook:
		n.Type, pattern = "string", `[\s\x85\xa0]*(`+strings.Join(spellings([]string{"start", "restart", "stop", "trystart"}), "|")+`)[\s\x85\xa0]+`+name+`[\s\x85\xa0]*`
		n.Not = &node{Type: "string", Pattern: `[\s\x85\xa0](` + strings.Join(reserved(), "|") + `)[\s\x85\xa0]*$`}
	case spec.KindAssignment:
		return &node{Type: "string", Pattern: `^[^=]+=`, PatternMessage: message(k.Kind)}
	case spec.KindURLPath:
		n.Type, pattern = "string", `/[^?#\x00-\x20\x7f]*`
	}
	n.Pattern = "^(" + strings.Join(append([]string{pattern}, k.Words...), "|") + ")$"
	return n
}

func at(n int) *int { return &n }

// message is what an editor says of a text that does not fit.
func message(k spec.Kind) string {
	if how := k.Grammar(); how != "" {
		return spec.Plain(string(k) + ": " + how)
	}
	return string(k)
}

// signalNames matches the names in any case, with SIG or without.
func signalNames() string {
	return "(" + anyCase("SIG") + ")?(" + anyCase(strings.Join(signals, "|")) + ")"
}

func anyCase(word string) string {
	var b strings.Builder
	for _, r := range word {
		if r >= 'A' && r <= 'Z' {
			b.WriteString("[" + string(r) + string(r+'a'-'A') + "]")
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// spellings are the verbs in every spelling of spec.ParseVerb.
func spellings(verbs []string) []string {
	var all []string
	for _, v := range verbs {
		for _, spelling := range []string{v, strings.ToUpper(v[:1]) + v[1:], "TryStart"} {
			if verb, ok := spec.ParseVerb(spelling); ok && string(verb) == v && !slices.Contains(all, spelling) {
				all = append(all, spelling)
			}
		}
	}
	return all
}

// reserved are the words that are no name of a child.
func reserved() []string {
	words := []string{spec.All, "on"}
	for _, v := range []spec.Verb{spec.VerbStart, spec.VerbStop, spec.VerbRestart, spec.VerbTrystart, spec.VerbCheck, spec.VerbInfo, spec.VerbKill, spec.VerbHelp} {
		words = append(words, spellings([]string{string(v)})...)
	}
	return append(words, "INFO", "InFo", "-h")
}
