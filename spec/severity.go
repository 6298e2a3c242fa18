package spec

import "cmp"

// bySeverity are the codes of what can go wrong with a child, the worst first: those
// of its configuration, then those of its processes, then those of the command. It is
// the order of the exit statuses of the commands that wait.
var bySeverity = []Code{
	InvalidFile, Ambiguous, BadHook, NotFound,
	CannotStart, HookFailed, ChildFailed, NotStopped,
	Superseded, TimedOut,
}

// Worse is the one of two codes that stands for both: of those that are not about a
// child, which are the harmless ones, the first.
func Worse(a, b Code) Code {
	for _, c := range bySeverity {
		if a == c || b == c {
			return c
		}
	}
	return cmp.Or(a, b)
}
