package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullDisk leaves no room for the journal, on 64 KiB, and the server is killed
// twice meanwhile; and then none for the facts of the runs either. A server that
// is killed then as well cannot tell the next one what it has started, so that
// is not asked of it.
func fullDisk(t *testing.T, c *trial) {
	if os.Geteuid() != 0 || exec.Command("unshare", "--mount", "--pid", "--fork", "true").Run() != nil {
		c.skip(t, "only root can mount a small file system")
	}
	in := c.newInstance(t, "mode: full\n", mixture(4, 2, 3))
	for _, dir := range []string{"state", "run"} {
		must(t, os.Mkdir(in.path(dir), 0o700))
	}
	in.clone = syscall.CLONE_NEWNS
	in.enter = []string{"-tmpfs", "64k:" + in.path("state"), "-tmpfs", "256k:" + in.path("run"), "-id", fmt.Sprint(c.as.id)}
	in.serve(t)
	w := in.watch(t, c)
	<-time.After(500 * time.Millisecond)
	before := w.orders.acknowledged()
	free := []func(*testing.T){in.fill(t, "state")}
	begin := time.Now()
	for range 2 {
		<-time.After(c.lasting(20*time.Second, 700*time.Millisecond))
		if problems := in.problems(); !strings.Contains(problems, "no space left") {
			t.Errorf("info does not tell of the full disk: %s", problems)
		}
		server := in.awaitServer(t, 0)
		must(t, signalMarked(server, in.mark, unix.SIGKILL))
		in.awaitServer(t, server)
		in.awaitReady(t)
	}
	free = append(free, in.fill(t, "run"))
	<-time.After(c.lasting(20*time.Second, 700*time.Millisecond))
	c.measure("full for %.1f s, server killed twice, %d orders acknowledged meanwhile", time.Since(begin).Seconds(), w.orders.acknowledged()-before)
	for _, f := range free {
		f(t)
	}
	w.resumes(t)
	if !in.eventually(patience, func() bool { return !strings.Contains(in.problems(), "no space left") }) {
		t.Errorf("info still tells of a full disk: %s", in.problems())
	}
	recovered := w.orders.acknowledged()
	if !in.eventually(patience, func() bool { return w.orders.acknowledged() > recovered+3 }) {
		t.Error("no order is acknowledged after there is room again")
	}
	w.finish(t)
}

// inside is a path as the instance sees it in its own mounts.
func (in *instance) inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", in.keeper(), in.path(path))
}

// fill takes every free block of the file system of dir and returns what gives
// them back.
func (in *instance) fill(t *testing.T, dir string) (free func(*testing.T)) {
	t.Helper()
	f, err := os.Create(in.inside(dir + "/filler"))
	must(t, err)
	block := make([]byte, 4096)
	for range 1000 {
		if _, err = f.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the file system of %s is not full: %v", dir, err)
	}
	return func(t *testing.T) {
		t.Helper()
		must(t, errors.Join(f.Close(), os.Remove(in.inside(dir+"/filler"))))
	}
}

// problems is what info has to say.
func (in *instance) problems() string {
	status, body, err := in.ask("GET", "/v1/info", "", patience)
	var answer struct {
		Problems []string `json:"problems"`
	}
	if err != nil || status != 200 || json.Unmarshal(body, &answer) != nil {
		return fmt.Sprintf("no answer: %d %v", status, err)
	}
	return strings.Join(answer.Problems, "; ")
}
