// Command kita is the server and the client in one binary.
//
// `kita serve` looks after the children of this host; every other subcommand
// asks a running server. Called as supervisor-rs-server or
// supervisor-rs-client, through a link of that name, it behaves as those did.
//
// The package is wiring and presentation: a cobra RunE parses its words, calls
// another package and prints what it got. Decisions are taken elsewhere.
//
// # Exit status
//
//	0  all well
//	1  refused, or failed
//	2  wrong use: an unknown command or flag, words that make no sense
//	3  not running: `check NAME` of a child that is not alive
//	4  a server could not be reached
//
// Of several hosts the worst counts, in the order 2, 4, 1, 3, 0.
package main
