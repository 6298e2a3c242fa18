package keeper

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/systemd"
)

// testEnv has the directory of a test. With it this binary is the keeper of the
// tests or, started by it, their server.
const testEnv = "TEST_HOUSE"

const serverID = "0a1b2c"

func TestMain(m *testing.M) {
	dir := os.Getenv(testEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if link := Attach(); link != nil {
		os.Exit(actServer(dir, link))
	}
	os.Exit(actKeeper())
}

func actKeeper() int {
	if os.Getpid() == 1 {
		// A /proc of this PID namespace, seen by nobody else.
		err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		if err := errors.Join(err, unix.Mount("proc", "/proc", "proc", 0, "")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 99
		}
	}
	timing := DefaultTiming()
	if text := os.Getenv("TEST_GOOD"); text != "" {
		timing.Good, _ = time.ParseDuration(text)
	}
	if text := os.Getenv("TEST_READY"); text != "" {
		timing.Ready, _ = time.ParseDuration(text)
	}
	timing.Retry = 20 * time.Millisecond
	env := os.Environ()
	if os.Getenv("LISTEN_FDS") != "" {
		// A manager knows the PID of what it starts.
		env = append(env, "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	}
	manager, env, err := systemd.Take(env)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 95
	}
	status, err := Run(Options{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Args: os.Args, Env: env, Timing: timing, Manager: manager,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return status
}

// actServer does what the test tells it over a socket, one answer for each line.
func actServer(dir string, link *Link) int {
	conn, err := net.Dial("unix", filepath.Join(dir, "test.sock"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(conn, format+"\n", args...)
	}
	told := make(chan os.Signal, 16)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	exe, _ := os.Readlink("/proc/self/exe")
	say("pid=%d keeper=%d init=%v run=%q state=%q env=%q exe=%s",
		os.Getpid(), link.PID(), link.Init(), link.Before().Run, link.Before().State, os.Getenv(envLink), exe)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(conn); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	for {
		select {
		case <-link.Gone():
			return 97
		case sig := <-told:
			say("signal %v", sig)
		case <-link.Asked():
			link.Holds()
			say("asked, %s", hold(link, "unix /run/sock"))
		case line, ok := <-lines:
			if !ok {
				return 96
			}
			answer, end := obey(dir, link, line)
			if end >= 0 {
				return end
			}
			say("%s", answer)
		}
	}
}

// obey does one thing. end is an exit status, or negative.
func obey(dir string, link *Link, line string) (answer string, end int) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "run":
		link.Run(serverID, Dirs{State: filepath.Join(dir, "state"), Run: dir})
	case "ready":
		link.Ready()
	case "hold": // hold USE ADDRESS
		return hold(link, rest), -1
	case "held":
		var list []string
		for _, h := range link.Held() {
			list = append(list, fmt.Sprintf("%s %q given=%v accepts=%v", h.Use, h.Address, h.Given, systemd.Accepts(h.FD)))
		}
		return strings.Join(list, "; "), -1
	case "say":
		link.say(rest)
	case "environ":
		var list []string
		for _, entry := range os.Environ() {
			for _, prefix := range []string{"NOTIFY", "WATCHDOG", "LISTEN_"} {
				if strings.HasPrefix(entry, prefix) {
					list = append(list, entry)
				}
			}
		}
		return fmt.Sprintf("%q", list), -1
	case "exit":
		code, _ := strconv.Atoi(rest)
		link.Exit(code)
	case "end":
		code, _ := strconv.Atoi(rest)
		return "", code
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "start": // start CHILD SCRIPT
		child, script, _ := strings.Cut(rest, " ")
		pid, err := launch(child, script)
		if err != nil {
			return err.Error(), -1
		}
		return strconv.Itoa(pid), -1
	case "zombies":
		return strconv.Itoa(zombies()), -1
	case "upgrade":
		link.Upgrade(rest)
		env, release, err := link.Inherit()
		if err == nil {
			err = syscall.Exec(rest, os.Args, append(os.Environ(), env...))
			release()
		}
		link.NoUpgrade()
		return err.Error(), -1
	}
	return "ok", -1
}

// hold makes a listener and gives it to the keeper.
func hold(link *Link, what string) string {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err.Error()
	}
	defer ln.Close()
	file, err := ln.File()
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	use, address, _ := strings.Cut(what, " ")
	link.Hold(Held{Use: use, Address: address, FD: int(file.Fd())})
	return "ok"
}

// launch starts a child as a server does; nobody here waits for it.
func launch(child, script string) (int, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	env := append(os.Environ(), "KITA_CHILD="+child, "KITA_INCARNATION=3", "KITA_SERVER="+serverID)
	return syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{
		Env: env, Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
}

// zombies counts those of the PID namespace.
func zombies() int {
	n := 0
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), ") Z ") {
			n++
		}
	}
	return n
}
