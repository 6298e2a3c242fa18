//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

var armed = parse(os.Getenv("KITA_FAILPOINT"))

type point struct {
	step, action, file string
	delay              time.Duration
}

func parse(text string) point {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return point{}
	}
	delay, _ := time.ParseDuration(parts[1])
	return point{parts[0], parts[1], parts[2], delay}
}

// Enabled tells whether Hit can do anything.
const Enabled = true

// Hit is passed at a step. It does not return if that step is armed, or returns
// after the delay.
func Hit(step string) {
	if step != armed.step {
		return
	}
	if armed.delay > 0 {
		time.Sleep(armed.delay)
		return
	}
	if os.Remove(armed.file) != nil {
		return
	}
	if armed.action == "kill" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
	panic(fmt.Sprintf("failpoint %s", step))
}
