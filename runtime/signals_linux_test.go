package runtime

import (
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// TestSignalsAreSentInOrder: what stands still gets the first signal once the
// second has it go on.
func TestSignalsAreSentInOrder(t *testing.T) {
	kernels(t, func(t *testing.T, h *Host, f facts) {
		id := start(t, h, child(t, "sh", "-c", `trap 'exit 7' TERM; kill -STOP $$; exit 9`))
		awaitThat(t, "a process that stands still", func() (string, bool) {
			st, err := readStat(id.PID)
			return string(st.state), err == nil && st.state == 'T'
		})
		if err := h.Signal("web", 1, spec.Signal(unix.SIGTERM), spec.Signal(unix.SIGCONT)); err != nil {
			t.Fatal(err)
		}
		if got, want := f.next(t), exited(1, code(7), true); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
