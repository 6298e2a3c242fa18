//go:build linux

// Command stamp is the child of all measurements: it appends the time at which it
// began and its PID to the file it is given, and then waits for a signal.
//
// It is built with -ldflags "-E main.start", so its first instruction is that of
// start in assembly and Go's runtime does not run: what is measured is how fast a
// program is started, not what it does then. TERM ends it by its default action.
//
// The record has 24 bytes in the machine's order: seconds and nanoseconds of
// CLOCK_MONOTONIC, and the PID, each in eight. It is written in one write(2) to a
// file opened with O_APPEND, so the records of many children do not mix.
package main

import (
	"fmt"
	"os"
)

// start is where the kernel begins: there is no stack frame, argc is at the
// stack pointer and argv[1] is the file. It exits with 111 when that cannot be
// written. Nothing in Go calls it.
func start()

// entry keeps the tools from taking start for unused.
var entry = start

// main runs where the linker was not told to begin at start.
func main() {
	_ = entry
	fmt.Fprintln(os.Stderr, `stamp: build it with -ldflags "-E main.start"`)
	os.Exit(2)
}
