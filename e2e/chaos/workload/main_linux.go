package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("give a role, see doc.go"))
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "run":
		fail(run(args))
	case "orphan":
		orphan(args)
	case "escape":
		fail(escape())
	case "hidden":
		wait()
	case "bomb":
		fail(bomb(args))
	case "headless":
		fail(headless())
	case "enter":
		fail(enter(args))
	case "prlimit":
		fail(prlimit(args))
	default:
		fail(fmt.Errorf("no role is called %q", os.Args[1]))
	}
}

// fail ends the process: with 1 after an error, which is no code of chaos.Code.
func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// wait never returns. A select without cases would be taken for a deadlock.
func wait() {
	for {
		<-time.After(time.Hour)
	}
}
