package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sandbox is a machine for the commands of a page: namespaces in which
// everything they write to is its own, and goes with it.
type sandbox struct {
	first *exec.Cmd // the process that holds it
	stdin io.Closer
	pid   int // of its first process
	dir   string
	n     int // programs that were started
}

// newSandbox makes one whose outputs are below dir.
func newSandbox(dir string) (*sandbox, error) {
	cmd := exec.Command("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc",
		"bash", filepath.Join(world.module, "e2e/testdata/docs/sandbox.sh"), world.bin, world.module)
	cmd.Env = sandboxEnv()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &sandbox{first: cmd, stdin: stdin, dir: dir}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "up\n" {
		b.close()
		return nil, fmt.Errorf("cannot make a sandbox: %q, %w\n%s", line, err, said.String())
	}
	// unshare forked it.
	forked := childrenOf(cmd.Process.Pid)
	if len(forked) != 1 {
		b.close()
		return nil, fmt.Errorf("unshare has the children %v, want one", forked)
	}
	b.pid = forked[0]
	return b, nil
}

func sandboxEnv() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TZ=UTC", "LC_ALL=C.UTF-8", "TERM=xterm", "USER=root", "LOGNAME=root"}
}

// close ends everything in it.
func (b *sandbox) close() {
	_ = b.stdin.Close()
	_ = b.first.Wait()
}

// program is one that runs in a sandbox.
type program struct {
	cmd    *exec.Cmd
	output string // the file that both streams go to
	done   chan struct{}
}

// start runs text in a shell of a user that goes on where the one before ended:
// in its directory, with what it exported.
func (b *sandbox) start(text, user string, terminal bool) (*program, error) {
	b.n++
	p := &program{output: filepath.Join(b.dir, strconv.Itoa(b.n)), done: make(chan struct{})}
	out, err := os.Create(p.output)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	// A file, so that the command line is not what a page looks for with pgrep.
	script := fmt.Sprintf(`exec 3<&-
. /mnt/lib.sh
state=/tmp/.%s
if [[ -e $state.env ]]; then . $state.env; cd "$(cat $state.cwd)"; else cd; fi
trap 'declare -px >$state.env; pwd >$state.cwd' EXIT
set -eo pipefail
%s
`, user, text)
	args := []string{"-t", strconv.Itoa(b.pid), "--mount", "--pid", "--net", "--uts", "--ipc"}
	if user != "root" {
		args = append(args, "setpriv", "--reuid", user, "--regid", user, "--init-groups", "env", "HOME=/home/"+user, "USER="+user, "LOGNAME="+user)
	}
	if terminal {
		args = append(args, "script", "-qefc", "stty rows 40 cols 120; exec bash /dev/fd/3", "/dev/null")
	} else {
		args = append(args, "bash", "/dev/fd/3")
	}
	if err := os.WriteFile(p.output+".sh", []byte(script), 0o644); err != nil {
		return nil, err
	}
	source, err := os.Open(p.output + ".sh")
	if err != nil {
		return nil, err
	}
	defer source.Close()
	p.cmd = exec.Command("nsenter", args...)
	p.cmd.ExtraFiles = []*os.File{source}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = sandboxEnv(), out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// text is what it has written.
func (p *program) text() string {
	text, _ := os.ReadFile(p.output)
	return string(text)
}

// ended tells whether it has, and how.
func (p *program) ended() (status int, ended bool) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), true
	default:
		return 0, false
	}
}

// errLate is of a program that does not end.
var errLate = errors.New("it does not end")

// wait returns its exit status.
func (p *program) wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, errLate
	case <-time.After(patience):
		p.kill()
		return 0, errLate
	}
}

// kill ends all of its session that is left.
func (p *program) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// interrupt has the programs that the shell waits for end as Ctrl-C would.
func (p *program) interrupt() { interruptLeaves(p.cmd.Process.Pid) }

func interruptLeaves(pid int) {
	below := childrenOf(pid)
	for _, child := range below {
		interruptLeaves(child)
	}
	if len(below) == 0 {
		_ = syscall.Kill(pid, syscall.SIGINT)
	}
}

// await waits until it has written text.
func (p *program) await(ctx context.Context, want string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !strings.Contains(p.text(), want); {
		select {
		case <-tick.C:
		case <-p.done:
			if strings.Contains(p.text(), want) {
				return nil
			}
			return fmt.Errorf("it ended before it wrote %q", want)
		case <-timeout:
			return fmt.Errorf("it does not write %q", want)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
