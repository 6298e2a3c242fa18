package sshhost

import (
	"fmt"
	"strings"
)

// AuthError is the error of a host that lets nobody in with the keys there are.
type AuthError struct {
	// Host is what was dialled, User the login there.
	Host, User string
	// Reason is the rest of the line, with the remedy.
	Reason string
}

func (a *AuthError) Error() string {
	return fmt.Sprintf("%s does not let %s in: %s", a.Host, a.User, a.Reason)
}

// NoServerError is the error of a host that was reached, and has no kita server
// that could be.
type NoServerError struct {
	// Tried has each way, and what came of it.
	Tried []string
}

func (n *NoServerError) Error() string {
	return "no kita server could be reached there: " + strings.Join(n.Tried, "; ")
}

// OnlyOldError is the error of a host with supervisor-rs-client and without a
// kita server: Host.RunOld is the way to ask the server there.
type OnlyOldError struct {
	// Client is the path of supervisor-rs-client there.
	Client string
}

func (o *OnlyOldError) Error() string {
	return "no kita server answers there, only supervisor-rs could be asked (" + o.Client + ")"
}

// NetworkError is the error of a host that did not answer as an sshd does, or
// not at all. What it comes from is only told and not wrapped: it must not be
// taken for an error of the connection to kita itself.
type NetworkError struct{ text string }

func (n *NetworkError) Error() string { return n.text }

func networkErrorf(format string, args ...any) error {
	return &NetworkError{fmt.Sprintf(format, args...)}
}
