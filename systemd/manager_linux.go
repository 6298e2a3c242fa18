package systemd

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The variables of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).
const (
	envNotify       = "NOTIFY_SOCKET"
	envWatchdog     = "WATCHDOG_USEC"
	envWatchdogPID  = "WATCHDOG_PID"
	envListen       = "LISTEN_FDS"
	envListenPID    = "LISTEN_PID"
	envListenPIDFD  = "LISTEN_PIDFDID"
	envListenNames  = "LISTEN_FDNAMES"
	firstListen     = 3 // SD_LISTEN_FDS_START
	longestWatchdog = time.Duration(1<<63 - 1)
)

var ours = []string{envNotify, envWatchdog, envWatchdogPID, envListen, envListenPID, envListenPIDFD, envListenNames}

// patience is how long the manager may take until there is room for a message. It
// must not hold up what the program is there for.
const patience = 100 * time.Millisecond

// Manager is a service manager. It may be used concurrently.
type Manager struct {
	socket   string
	watchdog time.Duration
	sockets  []Socket
	// notify and listen are the variables as they were found.
	notify, listen []string
}

// Take returns the manager that env, the environment of this process, tells of,
// nil if it tells of none, and env without what is meant for this process alone.
// That also leaves the process's own environment. The error says that it was
// handed sockets of which it cannot use one.
func Take(env []string) (m *Manager, rest []string, err error) {
	found := map[string]string{}
	m = &Manager{}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if !slices.Contains(ours, name) {
			rest = append(rest, entry)
			continue
		}
		found[name] = value
		if strings.HasPrefix(name, "LISTEN_") {
			m.listen = append(m.listen, entry)
		} else {
			m.notify = append(m.notify, entry)
		}
	}
	for _, name := range ours {
		_ = os.Unsetenv(name)
	}
	m.socket = found[envNotify]
	m.watchdog = watchdog(found)
	if m.sockets, err = listening(found); err != nil {
		return nil, rest, err
	}
	if m.socket == "" && len(m.sockets) == 0 {
		return nil, rest, nil
	}
	return m, rest, nil
}

// watchdog is 0 where it is not this process that is watched.
func watchdog(env map[string]string) time.Duration {
	if env[envNotify] == "" || !isMe(env[envWatchdogPID]) {
		return 0
	}
	micros, err := strconv.ParseUint(env[envWatchdog], 10, 63)
	if err != nil || micros > uint64(longestWatchdog/time.Microsecond) {
		return 0
	}
	return time.Duration(micros) * time.Microsecond
}

// isMe tells whether a variable means this process; an empty one means everybody.
func isMe(pid string) bool { return pid == "" || pid == strconv.Itoa(os.Getpid()) }

// Watchdog is how long the manager waits for a sign of life until it ends the
// program; 0 where it does not.
func (m *Manager) Watchdog() time.Duration {
	if m == nil {
		return 0
	}
	return m.watchdog
}

// Listens tells whether anybody hears what Tell says.
func (m *Manager) Listens() bool { return m != nil && m.socket != "" }

// Tell sends assignments of sd_notify(3), as "READY=1", in one message.
func (m *Manager) Tell(assignments ...string) error {
	if !m.Listens() {
		return nil
	}
	if err := m.send(strings.Join(assignments, "\n")); err != nil {
		return fmt.Errorf("tell %s=%s: %w", envNotify, m.socket, err)
	}
	return nil
}

// send opens a socket each time: there is seldom something to say, and then no
// program that this one becomes has to know of it.
func (m *Manager) send(text string) error {
	if m.socket[0] != '/' && m.socket[0] != '@' || len(m.socket) == 1 {
		return fmt.Errorf("it is neither a path nor @name")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	// x/sys has a name that begins with @ for one of the abstract ones.
	for {
		err := unix.Sendto(fd, []byte(text), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: m.socket})
		if err != unix.EINTR {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// Monotonic is the assignment that RELOADING=1 needs beside it.
func Monotonic() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return "MONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10)
}

// Extend is the assignment that asks for more time for what is under way.
func Extend(by time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(by.Microseconds(), 10)
}

// NotifyEnviron is what a program needs in its environment that is executed in the
// place of this one, to speak with the manager.
func (m *Manager) NotifyEnviron() []string {
	if m == nil {
		return nil
	}
	return m.notify
}

// ListenEnviron is what it needs to find Sockets, which have to stay open at their
// numbers.
func (m *Manager) ListenEnviron() []string {
	if m == nil || len(m.sockets) == 0 {
		return nil
	}
	return m.listen
}
