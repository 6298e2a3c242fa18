package main

import (
	"errors"

	"kita/spec"
)

// classes are the exit statuses by the codes of refusals, where something is waited
// for with --wait or `kita wait`, and of `kita diff`. Every code has one, here and
// nowhere else. Other commands end with 1 whatever the code.
var classes = map[spec.Code]int{
	spec.NotRunning: exitNotRunning,

	"unreachable": exitUnreachable,

	spec.TimedOut: exitLate,

	spec.ChildFailed: exitChildFailed,
	spec.CannotStart: exitChildFailed,
	spec.HookFailed:  exitChildFailed,
	spec.NotStopped:  exitChildFailed,

	spec.NotFound:    exitConfig,
	spec.Ambiguous:   exitConfig,
	spec.InvalidFile: exitConfig,
	spec.BadHook:     exitConfig,

	spec.Superseded: exitSuperseded,

	spec.AlreadyRunning:      exitFailed,
	spec.BadRequest:          exitFailed,
	spec.Forbidden:           exitFailed,
	spec.Unavailable:         exitFailed,
	spec.BadBinary:           exitFailed,
	"misdirected":            exitFailed,
	"no-such-path":           exitFailed,
	"method-not-allowed":     exitFailed,
	"unsupported-media-type": exitFailed,
	"too-large":              exitFailed,
	"slow-request":           exitFailed,
	"internal-error":         exitFailed,
	"not-asked":              exitFailed,
	"interrupted":            exitFailed,
	"key-refused":            exitFailed,
	"host-key":               exitFailed,
	"failed":                 exitFailed,
}

// statusOf is what err means to the shell, for the command of r.
func (r request) statusOf(err error) int {
	var refusal *spec.Refusal
	if r.classed && errors.As(err, &refusal) {
		if status, known := classes[refusal.Code]; known {
			return status
		}
	}
	return exitStatus(err)
}

// statusTable is the part of the help that explains the statuses.
const statusTable = `Exit status:
  0  it has come to that
  1  refused, or failed otherwise
  2  wrong use
  3  it does not run, and nothing is going to start it
  4  the server is unreachable
  5  it has not come to that in time
  6  the child failed: it could not be started, has ended, or ended otherwise
  7  its configuration is wrong: an illegal file, two files, hooks, no file
  8  another command came in between
Of several hosts the worst counts, in the order 2, 4, 7, 6, 8, 5, 1, 3, 0.`
