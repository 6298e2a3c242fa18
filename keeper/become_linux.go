package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// envState is how a keeper tells the program that it becomes what it knows.
const envState = "KITA_KEEPER_STATE"

// keeperState is what a keeper knows that cannot be seen.
type keeperState struct {
	// PID and Link are the server and the keeper's end of the link.
	PID  int `json:"pid"`
	Link int `json:"link"`
	// Server, RunDir and StateDir are what the server said in `run` and `state`.
	Server   string `json:"server"`
	RunDir   string `json:"run_dir"`
	StateDir string `json:"state_dir"`
	// Runs are the children of which only the keeper knows what they are.
	Runs []stateRun `json:"runs,omitempty"`
	// Strangers: there were children before the first server.
	Strangers bool `json:"strangers,omitempty"`
	// Ending: the server was told to end.
	Ending bool `json:"ending,omitempty"`
}

type stateRun struct {
	PID         int    `json:"pid"`
	Start       uint64 `json:"start"`
	Server      string `json:"server"`
	Child       string `json:"child"`
	Incarnation uint64 `json:"incarnation"`
}

// become executes binary in the place of this process, which keeps its PID, its
// children and the link. It returns when that cannot be done; the keeper then
// goes on as it is.
func (k *keeper) become(binary string) {
	// What is read now must not be lost with this image.
	for _, p := range k.server.stopReading() {
		k.heard(p, true)
	}
	// Nor must a signal that waits.
	if !k.policy.meant && !k.policy.watching && !k.herald.reloading && len(k.told) == 0 {
		err := k.exec(binary)
		k.catch()
		k.Logger.Warn("the keeper cannot become the new version, it goes on as it is", "err", err)
	}
	_ = k.server.link.SetReadDeadline(time.Time{})
	k.server.read()
}

func (k *keeper) exec(binary string) error {
	conn, err := k.server.link.SyscallConn()
	if err != nil {
		return err
	}
	state := keeperState{
		PID: k.server.pid, Server: k.graves.server, RunDir: k.graves.runDir, StateDir: k.stateDir, Strangers: k.strangers, Ending: k.policy.ending,
	}
	for pid, r := range k.graves.runs {
		state.Runs = append(state.Runs, stateRun{pid, r.start, r.server, r.child, r.incarnation})
	}
	// Those of which the default is the end, and which the new image does not
	// handle in its first moments. TERM and INT keep it: the server ends with
	// its keeper, and nobody waits for what was lost.
	deaf := []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGALRM}
	var failed error
	err = conn.Control(func(fd uintptr) {
		state.Link = int(fd)
		text, err := json.Marshal(state)
		if err != nil {
			failed = err
			return
		}
		if _, failed = unix.FcntlInt(fd, unix.F_SETFD, 0); failed != nil {
			return
		}
		signal.Ignore(deaf...)
		// Nothing of this process may be half done: Exec waits for none.
		// What a service manager gave keeps its numbers; of the rest of the shelf
		// the server has its own, which the new image asks it for.
		for _, socket := range k.Manager.Sockets() {
			if _, failed = unix.FcntlInt(uintptr(socket.FD), unix.F_SETFD, 0); failed != nil {
				return
			}
		}
		env := append(clean(k.Env), k.Manager.NotifyEnviron()...)
		env = append(env, k.Manager.ListenEnviron()...)
		failed = syscall.Exec(binary, k.Args, append(env, envState+"="+string(text)))
		for _, socket := range k.Manager.Sockets() {
			unix.CloseOnExec(socket.FD)
		}
		unix.CloseOnExec(int(fd))
	})
	if err == nil {
		err = failed
	}
	return fmt.Errorf("exec %s: %w", binary, err)
}

// clean returns env without what addresses a keeper or a server.
func clean(env []string) []string {
	var out []string
	for _, entry := range env {
		if !strings.HasPrefix(entry, envLink) {
			out = append(out, entry)
		}
	}
	return out
}

// resume goes on where the image before this one ended. It returns false for a
// keeper that is the first.
func (k *keeper) resume() (bool, error) {
	text := os.Getenv(envState)
	_ = os.Unsetenv(envState)
	k.Env = clean(k.Env)
	if text == "" {
		return false, nil
	}
	var state keeperState
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		return false, fmt.Errorf("%s: %w", envState, err)
	}
	if !isLink(state.Link) || !isChild(state.PID) {
		// Somebody else's variable: it has no meaning here.
		return false, nil
	}
	unix.CloseOnExec(state.Link)
	var err error
	if k.server, err = newServer(state.PID, state.Link); err != nil {
		return false, err
	}
	k.server.listens = true
	k.stateDir, k.strangers = state.StateDir, state.Strangers
	k.graves.open(state.Server, state.RunDir)
	k.graves.runs = map[int]bornRun{}
	for _, r := range state.Runs {
		k.graves.runs[r.PID] = bornRun{run{r.Server, r.Child, r.Incarnation}, r.Start}
	}
	now := time.Now()
	k.policy.started(now)
	k.policy.serves(now)
	k.policy.ending = state.Ending
	k.server.askToHold()
	k.herald.stopping = state.Ending
	k.herald.serves()
	k.Logger.Info("the keeper is the new version too", "server", state.PID)
	return true, nil
}
