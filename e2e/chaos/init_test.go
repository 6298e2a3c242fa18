package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// orphansEach is how many processes each start leaves behind.
const orphansEach = 2

// asInit has kita be the first process of a PID namespace, as in a container,
// with children that leave orphans behind.
func asInit(t *testing.T, c *trial) {
	if os.Geteuid() != 0 || exec.Command("unshare", "--mount", "--pid", "--fork", "true").Run() != nil {
		c.skip(t, "only root can make a PID namespace")
	}
	files := mixture(0, 2, 0)
	for i := range 20 {
		files[fmt.Sprintf("%s-%d", briefly, i)] = fmt.Sprintf("command: [%s, run, -brief, 50ms, -long, 400ms, -orphans, \"%d\"]\n", world.workload, orphansEach) + backOff
	}
	in := c.newInstance(t, "mode: full\n", files)
	in.clone = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	in.enter = []string{"-proc", "-id", fmt.Sprint(c.as.id)}
	in.serve(t)
	w := in.watch(t, c)
	begin := time.Now()
	most := 0
	if !in.eventually(time.Duration(c.count)*100*time.Millisecond+patience, func() bool {
		most = max(most, len(zombiesOf(in.keeper()))+len(zombiesOf(in.server())))
		w.turn.Lock()
		defer w.turn.Unlock()
		return len(w.ledger.starts) >= c.count
	}) {
		t.Errorf("there were only %d starts\n%s", len(w.ledger.starts), in.logTail())
	}
	c.measure("%.0f starts/s with %d orphans each, never more than %d zombies at once",
		float64(c.count)/time.Since(begin).Seconds(), orphansEach, most)
	w.finish(t)
}
