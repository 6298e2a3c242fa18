package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"kita/control"
	"kita/reconciler/history"
	"kita/reconciler/store"
)

// handoverFormat is that of handover. It changes when an earlier version could
// not go by what this one writes, or the other way round.
const handoverFormat = 1

// envHandover is the descriptor of the handover of a version that executed this
// one in its own place.
const envHandover = "KITA_HANDOVER"

// handover is what one version leaves to the next besides what is on disk. The
// descriptors are open in both.
type handover struct {
	Format int `json:"format"`
	// From is the version that was asked to upgrade, Binary what it was asked
	// to execute.
	From   string `json:"from"`
	Binary string `json:"binary"`
	// Failure is why Binary could not be executed; the old version goes on.
	Failure string `json:"failure,omitempty"`
	// Ready: the startup mode had been carried out.
	Ready bool `json:"ready"`
	// Ending: a signal came that ends the server.
	Ending bool `json:"ending,omitempty"`
	// StateDir and RunDir are in use, whatever server.yml says by now.
	StateDir string `json:"state_dir"`
	RunDir   string `json:"run_dir"`
	// Locks are the files that lock them.
	Locks []int `json:"locks"`
	// Listeners are the addresses in use.
	Listeners []inherited `json:"listeners"`
	// Connections are those of clients.
	Connections []control.Handed `json:"connections"`
	// History is what waited for room on a full disk. An earlier version passes it
	// over.
	History history.Rest `json:"history,omitzero"`
	// Files is what was seen of the children's files and could not be saved, nil where
	// it was. An earlier version passes it over.
	Files *store.FilesSeen `json:"files,omitempty"`
}

// inherited is a listener that passes from one version to the next.
type inherited struct {
	// Key is that of server.yml: listen or metrics_addr; unix for the socket.
	Key string `json:"key"`
	// Address is what server.yml had for it.
	Address string `json:"address"`
	FD      int    `json:"fd"`
	// Given: a service manager listens on it.
	Given bool `json:"given,omitempty"`
}

// takeHandover returns what an earlier version left, nil if there was none. It
// takes it out of the environment, so that no child inherits it, and marks the
// descriptors close-on-exec again.
func takeHandover() (*handover, error) {
	value := os.Getenv(envHandover)
	_ = os.Unsetenv(envHandover)
	if value == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd <= 2 {
		return nil, fmt.Errorf("%s=%s is no descriptor", envHandover, value)
	}
	f := os.NewFile(uintptr(fd), "handover")
	if f == nil {
		return nil, fmt.Errorf("%s=%s is no descriptor", envHandover, value)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		return nil, fmt.Errorf("read what the version before this one left: %w", err)
	}
	var h handover
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("read what the version before this one left: %w", err)
	}
	if h.Format != handoverFormat {
		return nil, fmt.Errorf("the version before this one handed over in format %d, this one takes over in format %d", h.Format, handoverFormat)
	}
	for _, fd := range h.descriptors() {
		unix.CloseOnExec(fd)
	}
	return &h, nil
}

// descriptors are all that the next version needs.
func (h *handover) descriptors() []int {
	fds := append([]int{}, h.Locks...)
	for _, l := range h.Listeners {
		fds = append(fds, l.FD)
	}
	for _, c := range h.Connections {
		fds = append(fds, c.FD)
	}
	return fds
}

// locks are the files for store.Options.
func (h *handover) locks() []*os.File {
	if h == nil {
		return nil
	}
	var files []*os.File
	for _, fd := range h.Locks {
		files = append(files, os.NewFile(uintptr(fd), "lock"))
	}
	return files
}

// rest is what was left to be written of the history.
func (h *handover) rest() history.Rest {
	if h == nil {
		return history.Rest{}
	}
	return h.History
}

// files is what was seen of the children's files and is not on disk.
func (h *handover) files() *store.FilesSeen {
	if h == nil {
		return nil
	}
	return h.Files
}

// letter is the file in which a handover passes an exec: one in memory, for
// neither a disk that is full nor the limit of arguments may be in its way.
type letter struct{ fd int }

// newLetter makes an empty one, close-on-exec. It is made before anything is
// given up.
func newLetter() (letter, error) {
	const name = "kita-handover"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		// Before Linux 6.3.
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return letter{}, fmt.Errorf("memfd_create: %w", err)
	}
	return letter{fd}, nil
}

func (l letter) drop() { _ = unix.Close(l.fd) }

// write replaces what is in it.
func (l letter) write(h *handover) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(l.fd, 0); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	for at := 0; at < len(text); {
		n, err := unix.Pwrite(l.fd, text[at:], int64(at))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("pwrite", err)
		}
		at += max(n, 0)
	}
	return nil
}

// execute executes binary in the place of this process, with the descriptors of
// h. It returns only when that fails.
func (l letter) execute(binary string, env []string, h *handover) error {
	// No process may be forked while the descriptors are open to it.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	fds := append(h.descriptors(), l.fd)
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep descriptor %d: %w", fd, err)
		}
	}
	env = append(env, envHandover+"="+strconv.Itoa(l.fd))
	return syscall.Exec(binary, os.Args, env)
}
