// Package chaos is the fault harness: it breaks a real kita in every way of the
// table in docs/faults.md, and judges it by records that kita has no part in.
//
// A child of the harness takes a lock that only one process can have, writes
// each of its starts and ends to a ledger, and exits with a code that follows
// from its name and its incarnation. So how many processes lived at once, which
// runs there were and how each ended is known without asking kita, and what
// kita says of them can be held against it.
//
// `go test` runs a short form of every fault; `make chaos` runs the full counts
// and prints the table, and N=5 multiplies them.
//
// Every instance has a directory, a loopback address and, where the harness is
// root, a control group of its own. Whatever the harness leaves behind is found
// by the mark in its environment or by that group, is ended, and fails the test.
package chaos
