package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// The pump of a server that died is a child of the keeper, which has no other
// than processes of runs.
func TestThePumpIsOfNoRun(t *testing.T) {
	subreaper(t)
	o := Options{ID: newID(t), Keeper: os.Getpid(), RunDir: t.TempDir()}
	h, f := hostWith(t, o)
	c := shell(t, `echo one; exec sleep 600`)
	c.Stdout = &spec.Stream{Path: filepath.Join(t.TempDir(), "out"), Format: spec.Text}
	launched(t, h, c, 1)
	pump := h.pumpPID()
	if pump == 0 {
		t.Fatal("there is no pump")
	}
	t.Cleanup(func() { _ = unix.Kill(pump, unix.SIGKILL) })
	orphans, err := h.orphans()
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(orphans, func(st procStat) bool { return st.pid == pump }) {
		t.Error("it is taken for an orphan of a run")
	}
	if survivors := h.Survivors("web", 1); slices.Contains(survivors, pump) {
		t.Errorf("it is among the survivors, %v", survivors)
	}
	h.Signal("web", 1, spec.Signal(unix.SIGKILL))
	if end := f.next(t); !end.empty && !f.next(t).emptied {
		t.Error("something is left of the run")
	}
	if h.pumpPID() != pump {
		t.Error("it was killed with the run")
	}
}
