package systemd

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hear makes a socket as a manager has it. next returns the next message.
func hear(t *testing.T, name string) (next func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func() string {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		buffer := make([]byte, 4096)
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
}

// take is Take of an environment with nothing in it but entries.
func take(t *testing.T, entries ...string) *Manager {
	t.Helper()
	m, _, err := Take(entries)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMessagesArrive(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, name := range []string{filepath.Join(dir, "n"), "@kita-test-" + strconv.Itoa(os.Getpid())} {
		next := hear(t, name)
		m := take(t, "NOTIFY_SOCKET="+name)
		if !m.Listens() {
			t.Errorf("%s: nobody listens", name)
		}
		if err := errors.Join(m.Tell("READY=1", "STATUS=all well"), m.Tell("STOPPING=1")); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"READY=1\nSTATUS=all well", "STOPPING=1"} {
			if got := next(); got != want {
				t.Errorf("%s: heard %q, want %q", name, got, want)
			}
		}
	}
}

func TestAManagerThatCannotBeReachedIsNamed(t *testing.T) {
	for name, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file",
		"vsock:2:1234":                     "it is neither a path nor @name",
		"@":                                "it is neither a path nor @name",
		"/" + strings.Repeat("x", 200):     "invalid argument",
	} {
		err := take(t, "NOTIFY_SOCKET="+name).Tell("READY=1")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// A manager that reads nothing must not hold up the program.
func TestAManagerThatHangsDoesNotHoldUp(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "n")
	hear(t, name) // and never next
	m := take(t, "NOTIFY_SOCKET="+name)
	for range 100000 {
		if err := m.Tell("STATUS=x"); err != nil {
			return
		}
	}
	t.Error("no message was refused")
}

func TestWithoutAManagerNothingIsSaid(t *testing.T) {
	m, rest, err := Take([]string{"A=1", "LISTENING=2"})
	if m != nil || err != nil || !reflect.DeepEqual(rest, []string{"A=1", "LISTENING=2"}) {
		t.Errorf("%v, %q, %v", m, rest, err)
	}
	if m.Listens() || m.Watchdog() != 0 || m.Sockets() != nil || m.Tell("READY=1") != nil || m.NotifyEnviron() != nil || m.ListenEnviron() != nil {
		t.Error("no manager is one")
	}
}

func TestWhatIsMeantForThisProcessIsTakenOut(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	env := []string{"A=1", "NOTIFY_SOCKET=@x", "WATCHDOG_USEC=30000000", "WATCHDOG_PID=" + pid, "LISTEN_PID=1", "LISTEN_FDS=1",
		"LISTEN_FDNAMES=web", "LISTEN_PIDFDID=7", "Z=2"}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
	m, rest, err := Take(env)
	if err != nil || !reflect.DeepEqual(rest, []string{"A=1", "Z=2"}) {
		t.Errorf("rest %q, %v", rest, err)
	}
	for _, name := range ours {
		if value, set := os.LookupEnv(name); set {
			t.Errorf("children would inherit %s=%s", name, value)
		}
	}
	if got := m.NotifyEnviron(); !reflect.DeepEqual(got, env[1:4]) {
		t.Errorf("passed on: %q", got)
	}
	if got := m.ListenEnviron(); got != nil {
		t.Errorf("passed on, though for another process: %q", got)
	}
}

func TestWatchdog(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	tests := []struct {
		name string
		env  []string
		want time.Duration
	}{
		{"this process", []string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=1500000", "WATCHDOG_PID=" + pid}, 1500 * time.Millisecond},
		{"no PID", []string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=1500000"}, 1500 * time.Millisecond},
		{"another process", []string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=1500000", "WATCHDOG_PID=1"}, 0},
		{"nobody to tell", []string{"WATCHDOG_USEC=1500000"}, 0},
		{"none", []string{"NOTIFY_SOCKET=@x"}, 0},
		{"no number", []string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=soon"}, 0},
		{"negative", []string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=-1"}, 0},
		{"for ever", []string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=18446744073709551615"}, 0},
		{"overflows", []string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=9223372036854775807"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := take(t, tt.env...).Watchdog(); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
