//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

var armed = parse(os.Getenv("KITA_FAILPOINT"))

type point struct{ step, action, file string }

func parse(text string) point {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return point{}
	}
	return point{parts[0], parts[1], parts[2]}
}

// Enabled tells whether Hit can do anything.
const Enabled = true

// Hit is passed at a step. It does not return if that step is armed.
func Hit(step string) {
	if step != armed.step || os.Remove(armed.file) != nil {
		return
	}
	if armed.action == "kill" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
	panic(fmt.Sprintf("failpoint %s", step))
}
