package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kita/reconciler/store"
	"kita/runtime"
	"kita/spec"
)

// checkTime is what a new version has to say whether it can take over.
const checkTime = 5 * time.Second

// checkWord is the command by which it is asked, and okWord how its answer
// begins; its version follows. Every version keeps to them.
const (
	checkWord = "upgrade-check"
	okWord    = "ok "
	// checkSystemd is the flag of it that versions have not which know nothing of a
	// service manager.
	checkSystemd = "systemd"
)

// upgradeCheck is the question.
type upgradeCheck struct {
	// format is that of the handover that the new version would get.
	format           int
	stateDir, runDir string
	// systemd: a service manager listens to this server, watches it or listens for it,
	// and would have to do with what the new version says.
	systemd bool
	// file is server.yml as on the command line; empty means it is to be found.
	file string
}

func (u upgradeCheck) args() []string {
	args := []string{checkWord, "--format", strconv.Itoa(u.format), "--state-dir", u.stateDir, "--run-dir", u.runDir}
	if u.systemd {
		args = append(args, "--"+checkSystemd)
	}
	if u.file != "" {
		args = append(args, "--", u.file)
	}
	return args
}

// upgradeCheckCommand is how this version answers.
func (p *program) upgradeCheckCommand() *cobra.Command {
	var u upgradeCheck
	c := &cobra.Command{
		Use: checkWord + " [FILE]", Hidden: true, Args: maxWords(1),
		Short: "say whether this version could take over a running server",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				u.file = args[0]
			}
			if err := u.answer(); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.out, "%s%s\n", okWord, version)
			return err
		},
	}
	c.Flags().IntVar(&u.format, "format", 0, "format of the handover")
	c.Flags().StringVar(&u.stateDir, "state-dir", "", "directory of the journal")
	c.Flags().StringVar(&u.runDir, "run-dir", "", "directory of the facts")
	// That it is legal is the answer.
	c.Flags().BoolVar(&u.systemd, checkSystemd, false, "the server is under systemd")
	return c
}

// answer is nil if this version can take over. It takes no lock and writes
// nothing.
func (u upgradeCheck) answer() error {
	if u.format != handoverFormat {
		return fmt.Errorf("it takes over in format %d, the running server hands over in format %d: restart the server instead", handoverFormat, u.format)
	}
	path, _, err := spec.FindServerFile(u.file)
	if err != nil {
		return fmt.Errorf("find server.yml: %w", err)
	}
	if path != "" {
		server, err := spec.LoadServer(path)
		if err != nil {
			return err
		}
		if err := checkHostKey(u.stateDir, server.Encrypt); err != nil {
			return err
		}
	}
	boot, err := runtime.BootID()
	if err != nil {
		return fmt.Errorf("which boot is this: %w", err)
	}
	return store.Check(u.stateDir, u.runDir, boot)
}

// ask asks the version in the file binary, and returns which it is. The error
// says in one line why it cannot take over.
func (u upgradeCheck) ask(ctx context.Context, binary string) (version string, err error) {
	if err := checkOwner(binary); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, checkTime, fmt.Errorf("it did not answer within %v", checkTime))
	defer cancel()
	var out, complaint limitedBuffer
	cmd := exec.CommandContext(ctx, binary, u.args()...)
	// By the name of a link it would be a program of supervisor-rs.
	cmd.Args[0] = "kita"
	cmd.Stdout, cmd.Stderr = &out, &complaint
	// A group of its own, so that all of it can be ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.As(err, &failed) && u.systemd && strings.Contains(complaint.String(), "unknown flag: --"+checkSystemd):
		return "", errNoSystemd
	case errors.As(err, &failed):
		return "", fmt.Errorf("it says: %s", firstLine(complaint.String(), failed.Error()))
	case err != nil:
		return "", explainExec(err)
	}
	line, isOK := strings.CutPrefix(out.String(), okWord)
	line, whole := strings.CutSuffix(line, "\n")
	if !isOK || !whole || line == "" || strings.ContainsAny(line, "\n ") {
		return "", fmt.Errorf("it does not answer as kita does, but %q", firstLine(out.String(), ""))
	}
	return line, nil
}

// errNoSystemd is why a version cannot take over that has no checkSystemd. systemd
// would hear no sign of life any more and end the keeper, would wait in vain for its
// next start, and clients of the sockets that it listens on would not be answered.
var errNoSystemd = errors.New("its version knows nothing of systemd, under which this server runs: " +
	"install it with its own unit file and without kita.socket, then restart the unit (systemctl restart kita), the children go on")

// checkOwner refuses what others than root and this user could have put there.
func checkOwner(binary string) error {
	path, err := filepath.EvalSymlinks(binary)
	if err != nil {
		return explainExec(err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return explainExec(err)
	case !info.Mode().IsRegular():
		return errors.New("it is not a file")
	case info.Mode().Perm()&0o111 == 0:
		return errors.New("it is not executable, see chmod(1)")
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return explainExec(err)
	}
	if !isTrusted(info) {
		return errors.New("others than root and the server's user may write it, try chmod go-w or chown")
	}
	// In a sticky directory others cannot replace the file.
	if dir.Mode()&os.ModeSticky == 0 && !isTrusted(dir) {
		return errors.New("others than root and the server's user may write its directory")
	}
	return nil
}

func isTrusted(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	mine := ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
	return mine && info.Mode().Perm()&0o022 == 0
}

// explainExec is err without the path, which the caller names.
func explainExec(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, syscall.ENOEXEC) {
		return fmt.Errorf("it cannot be executed on this machine: %w", err)
	}
	return fmt.Errorf("it cannot be executed: %w", err)
}

// firstLine is the first line of text that says anything, else the fallback.
func firstLine(text, fallback string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return printable(line)
		}
	}
	return fallback
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	const most = 4 << 10
	b.Buffer.Write(p[:min(len(p), max(0, most-b.Len()))])
	return len(p), nil
}
