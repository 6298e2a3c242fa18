package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// enter executes a command as the process that it is: the namespaces are those
// that the harness cloned it into.
func enter(args []string) error {
	flags := flag.NewFlagSet("enter", flag.ExitOnError)
	var join list
	flags.Var(&join, "join", "a cgroup.procs to write 0 to")
	proc := flags.Bool("proc", false, "mount /proc anew")
	var tmpfs list
	flags.Var(&tmpfs, "tmpfs", "SIZE:DIR, a small file system to mount")
	id := flags.Int("id", -1, "user and group to become")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("enter: give a command")
	}
	for _, file := range join {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := mount(*proc, tmpfs, *id); err != nil {
		return err
	}
	if *id >= 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(*id), syscall.Setuid(*id)); err != nil {
			return err
		}
	}
	return syscall.Exec(flags.Arg(0), flags.Args(), os.Environ())
}

func mount(proc bool, tmpfs []string, owner int) error {
	if !proc && len(tmpfs) == 0 {
		return nil
	}
	// Nothing that is mounted from here on reaches the outside.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if proc {
		if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return err
		}
	}
	for _, small := range tmpfs {
		size, dir, _ := strings.Cut(small, ":")
		options := fmt.Sprintf("size=%s,mode=700,uid=%d,gid=%d", size, max(owner, 0), max(owner, 0))
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
			return err
		}
	}
	return nil
}

// prlimit sets the soft limit of descriptors of a process of the same user, and
// prints what it was. It is a process of its own because the harness has other
// rights than that user.
func prlimit(args []string) error {
	if len(args) != 2 {
		return errors.New("give a PID and a number")
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	soft, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := limit(pid, nil, &old); err != nil {
		return fmt.Errorf("read the limit of %d: %w", pid, err)
	}
	now := syscall.Rlimit{Cur: soft, Max: old.Max}
	if err := limit(pid, &now, nil); err != nil {
		return fmt.Errorf("set the limit of %d: %w", pid, err)
	}
	fmt.Println(old.Cur)
	return nil
}

func limit(pid int, now, old *syscall.Rlimit) error {
	_, _, errno := syscall.Syscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(now)), uintptr(unsafe.Pointer(old)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
