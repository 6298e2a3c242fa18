package spec

// Kind says what the text of a scalar has to be. It reads as its name in the
// singular.
type Kind string

const (
	// KindAny is any text: empty, or null where that stands without quotes.
	KindAny Kind = "any text"
	// KindText is text that is not empty.
	KindText Kind = "text"
	// KindName is the same where it names something.
	KindName      Kind = "name"
	KindFile      Kind = "path of a file"
	KindDirectory Kind = "path of a directory"
	KindCommand   Kind = "command line"
	// KindChild is the name of a child.
	KindChild   Kind = "name of a child"
	KindAccount Kind = "name or number"
	// KindChoice is one of the key's Values.
	KindChoice  Kind = "choice"
	KindBoolean Kind = "true or false"
	// KindInteger is a whole number from Min to Max.
	KindInteger Kind = "whole number"
	// KindNumber is a number from Min to Max.
	KindNumber Kind = "number"
	// KindDuration is at least Least.
	KindDuration Kind = "duration"
	// KindSize is a number of bytes, at least Least.
	KindSize Kind = "size"
	// KindCount is a number that only the machine bounds, at least Min.
	KindCount      Kind = "count"
	KindProcessors Kind = "number of processors"
	KindOctal      Kind = "octal number"
	KindSignal     Kind = "signal"
	// KindExit is an exit code or a signal.
	KindExit     Kind = "exit code or signal"
	KindAddress  Kind = "IP address"
	KindHostPort Kind = "host:port"
	// KindHost is where a server is, as `on` takes it.
	KindHost Kind = "address of a host"
	// KindKeyPattern and KindChildPattern are patterns of path.Match for the
	// names of public keys and of children.
	KindKeyPattern   Kind = "pattern of keys"
	KindChildPattern Kind = "pattern of children"
	// KindVerb is one of the key's Values, in any spelling of ParseVerb.
	KindVerb Kind = "verb"
	// KindHook is a verb and a child.
	KindHook       Kind = "verb and child"
	KindAssignment Kind = "NAME=VALUE"
	KindURLPath    Kind = "path of a URL"
)

// plural is the kind as what a list is of.
func (k Kind) plural() string {
	switch k {
	case KindAny, KindText:
		return "text"
	case KindName:
		return "names"
	case KindFile:
		return "files"
	case KindDirectory:
		return "directories"
	case KindChild:
		return "children"
	case KindExit:
		return "exit codes and signals"
	case KindKeyPattern, KindChildPattern:
		return "patterns"
	case KindHost:
		return "hosts"
	}
	return string(k)
}

// Grammar says how a value of the kind is written; empty where its name says it
// all.
func (k Kind) Grammar() string {
	switch k {
	case KindCommand:
		return "text that is split as a shell splits words; nothing is expanded"
	case KindDuration:
		return "a number with a unit, or several: `500ms`, `10s`, `1m30s`, `24h`, `30d`, `1d12h`"
	case KindSize:
		return "a number of bytes, with a unit or without: `64MB` (64,000,000), `64MiB` (67,108,864); also kB, KiB, GB, GiB, TB, TiB"
	case KindProcessors:
		return "up to three decimal places: `2`, `0.5`"
	case KindOctal:
		return "octal digits: `022`"
	case KindSignal:
		return "a name, with SIG or without, or a number: `TERM`, `SIGTERM`, `15`"
	case KindExit:
		return "a number from 0 to 255, or the name of a signal: `2`, `TERM`"
	case KindKeyPattern, KindChildPattern:
		return "a name, or with `*`, `?` and `[a-z]` as in a shell"
	case KindHook:
		return "two words: `start db`"
	case KindAddress:
		return "without a port: `127.0.0.1`, `::1`"
	case KindHost:
		return "a name, an address, `ssh://user@host`; with a port or without"
	}
	return ""
}
