// Package why answers why a child is in the state that it is in, in words: one
// sentence, and the chain of events that led there. It also puts single events
// into words. Package main of cmd/kita asks it, for `kita why` and `kita events`.
//
// It is pure: values in, values out, no clock and no I/O. Where the events do not
// say what happened it says so, and guesses nothing. Its texts may hold anything
// that a file, a name or a program has: they are to be escaped where they are
// shown.
package why
