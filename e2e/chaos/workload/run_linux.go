package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"kita/e2e/chaos"
)

// run is a child. KITA_CHAOS_DIR holds its lock and the ledger of all children.
func run(args []string) error {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	live := flags.Bool("live", false, "never end by itself")
	brief := flags.Duration("brief", 20*time.Millisecond, "the shortest life")
	long := flags.Duration("long", 500*time.Millisecond, "the longest life")
	orphans := flags.Int("orphans", 0, "how many processes to leave behind")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, child := os.Getenv("KITA_CHAOS_DIR"), os.Getenv("KITA_CHILD")
	incarnation, err := strconv.ParseUint(os.Getenv("KITA_INCARNATION"), 10, 64)
	if err != nil {
		return fmt.Errorf("KITA_INCARNATION: %w", err)
	}
	ledger, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	// One write(2) a line: O_APPEND keeps them whole.
	note := func(mark byte, number int) error {
		_, err := fmt.Fprintf(ledger, "%c %s %d %d\n", mark, child, incarnation, number)
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "locks", child), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(err, note('D', os.Getpid()))
	}
	if err := note('S', os.Getpid()); err != nil {
		return err
	}
	for n := range *orphans {
		if err := leave(n); err != nil {
			return err
		}
	}
	if *live {
		wait()
	}
	<-time.After(chaos.Life(child, incarnation, *brief, *long))
	code := chaos.Code(child, incarnation)
	if err := note('E', code); err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

// leave starts a process that outlives this one by a little, so that whoever
// takes orphans has to reap it.
func leave(n int) error {
	cmd := exec.Command("/proc/self/exe", "orphan", strconv.Itoa(n))
	// In the group it would be waited for.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// orphan ends some time after its parent, with any code but that of a child.
func orphan(args []string) {
	n := 0
	if len(args) > 0 {
		n, _ = strconv.Atoi(args[0])
	}
	for range 1000 {
		if os.Getppid() == 1 || n%2 == 0 {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	<-time.After(time.Duration(20+10*n) * time.Millisecond)
	os.Exit(210 + n%40)
}
