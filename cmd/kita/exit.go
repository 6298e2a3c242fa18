package main

import (
	"errors"
	"fmt"

	"kita/control"
)

// The exit statuses; scripts rely on the numbers.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotRunning  = 3
	exitUnreachable = 4
	// With --wait, and of `kita wait`.
	exitLate        = 5
	exitChildFailed = 6
	exitConfig      = 7
	exitSuperseded  = 8
	// exitDiffers is of `kita diff --exit-code`.
	exitDiffers = 9
)

// severity orders the exit statuses, the harmless first. exitFailed comes before
// what tells more: it is also that of hosts that were not asked after a failure.
var severity = []int{
	exitOK, exitDiffers, exitNotRunning, exitFailed, exitLate, exitSuperseded, exitChildFailed, exitConfig, exitUnreachable, exitUsage,
}

// worst is the status that stands for both.
func worst(a, b int) int {
	for i := len(severity) - 1; i >= 0; i-- {
		if a == severity[i] || b == severity[i] {
			return severity[i]
		}
	}
	return exitFailed
}

// usageError is wrong use of the command line.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// statusError ends the program with a status; whatever there was to say has
// been said.
type statusError struct{ status int }

func (s *statusError) Error() string { return fmt.Sprintf("exit status %d", s.status) }

// withStatus is nil for exitOK.
func withStatus(status int) error {
	if status == exitOK {
		return nil
	}
	return &statusError{status}
}

// exitStatus is what err means to the shell.
func exitStatus(err error) int {
	var (
		status      *statusError
		usage       *usageError
		unreachable *control.Unreachable
		old         *oldAnswer
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return status.status
	case errors.As(err, &old):
		return old.status
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnreachable
	}
	return exitFailed
}
