package keeper

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/systemd"
)

// listener hears what a keeper tells its service manager.
type listener struct {
	t    *testing.T
	conn *net.UnixConn
	name string
}

func newListener(t *testing.T) *listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &listener{t, conn, name}
}

func (l *listener) wants(messages ...string) {
	l.t.Helper()
	buffer := make([]byte, 4096)
	for _, want := range messages {
		_ = l.conn.SetReadDeadline(time.Now().Add(testPatience))
		n, err := l.conn.Read(buffer)
		if err != nil {
			l.t.Fatalf("%v, want %q", err, want)
		}
		if got, _, _ := strings.Cut(string(buffer[:n]), "\nMONOTONIC_USEC="); got != want {
			l.t.Fatalf("the manager is told %q, want %q", got, want)
		}
	}
}

// isEmpty wants nothing to have been told that was not heard.
func (l *listener) isEmpty() {
	l.t.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	buffer := make([]byte, 4096)
	if n, err := l.conn.Read(buffer); err == nil {
		l.t.Errorf("the manager is told %q too", buffer[:n])
	}
}

// newTestHerald is a herald whose manager waits a minute for a sign of life.
func newTestHerald(t *testing.T) (*herald, *listener) {
	t.Helper()
	l := newListener(t)
	m, _, err := systemd.Take([]string{"NOTIFY_SOCKET=" + l.name, "WATCHDOG_USEC=60000000"})
	if err != nil {
		t.Fatal(err)
	}
	h := newHerald(m, slog.New(slog.DiscardHandler))
	return &h, l
}

func TestHeraldSaysEachThingOnce(t *testing.T) {
	h, l := newTestHerald(t)
	h.reloads() // not ready yet: the manager waits for READY as it is
	h.reloaded()
	h.extends(time.Second) // nothing ends
	h.serves()
	l.wants("READY=1")
	h.reloads()
	h.reloads()
	l.wants("RELOADING=1")
	h.reloaded()
	h.reloaded()
	l.wants("READY=1")
	h.stops()
	h.stops()
	h.extends(30 * time.Second)
	l.wants("STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000")
	// Nothing that would make it start again in the manager's eyes.
	h.reloads()
	h.serves()
	l.isEmpty()
}

// What the manager has no room for is said again, the latest of each kind.
func TestWhatTheManagerHadNoRoomForIsSaidAgain(t *testing.T) {
	h, l := newTestHerald(t)
	filled := 0
	for ; h.manager.Tell("FILL=1") == nil; filled++ {
		if filled > 100000 {
			t.Fatal("the manager has room for everything")
		}
	}
	h.status("one")
	h.serves()
	h.status("two")
	for range filled {
		l.wants("FILL=1")
	}
	l.isEmpty()
	next := h.next()
	if wait := time.Until(next); wait > again {
		t.Fatalf("it is said again in %v", wait)
	}
	h.due(next, true, true, time.Minute)
	l.wants("READY=1", "STATUS=two")
	if wait := time.Until(h.next()); wait < 10*time.Second {
		t.Errorf("the next look is in %v", wait)
	}
	h.due(next.Add(again), true, true, time.Minute)
	l.isEmpty()
}

// TestASilentServerIsCondemned goes through looks, half a minute apart.
func TestASilentServerIsCondemned(t *testing.T) {
	const minute = time.Minute
	tests := []struct {
		name string
		// beats are those before the looks, ready and alive how the server is then.
		beats        []bool
		ready, alive bool
		age          time.Duration
		want         []sentence
	}{
		{"beats", []bool{true, true, true, true, true}, true, true, minute, []sentence{live, live, live, live, live}},
		{"beats now and then", []bool{true, false, false, true, false, false, true}, true, true, minute, []sentence{live, live, live, live, live, live, live}},
		{"falls silent", []bool{true, false, false, false, false}, true, true, minute, []sentence{live, live, live, abort, kill}},
		{"never beats", []bool{false, false, false, false, false}, true, true, 100 * minute, []sentence{live, live, live, live, live}},
		{"starts", []bool{false, false, false, false}, false, true, minute, []sentence{live, live, live, live}},
		{"starts for ever", []bool{false, false}, false, true, 3 * minute, []sentence{abort, kill}},
		{"there is none", []bool{true, false, false, false, false}, true, false, 100 * minute, []sentence{live, live, live, live, live}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, l := newTestHerald(t)
			h.serves()
			l.wants("READY=1")
			h.started()
			for i, beat := range tt.beats {
				if beat {
					h.beat()
				}
				now := h.next()
				if got := h.due(now, tt.alive, tt.ready, tt.age); got != tt.want[i] {
					t.Fatalf("look %d: %v, want %v", i, got, tt.want[i])
				}
				if tt.want[i] == kill {
					if again := h.due(now, tt.alive, tt.ready, tt.age); again != live {
						t.Errorf("killed twice")
					}
					continue
				}
				l.wants("WATCHDOG=1")
			}
			l.isEmpty()
		})
	}
}

// A server that is killed, or that becomes another version, is another one.
func TestANewServerHasNotMissedABeat(t *testing.T) {
	h, _ := newTestHerald(t)
	h.serves()
	h.beat()
	for range 3 {
		h.due(h.next(), true, true, time.Hour)
	}
	h.started()
	for i := range 10 {
		if got := h.due(h.next(), true, true, time.Hour); got != live {
			t.Fatalf("look %d: %v", i, got)
		}
	}
}

func TestWithoutAWatchdogNobodyLooks(t *testing.T) {
	h := newHerald(nil, slog.New(slog.DiscardHandler))
	h.serves()
	h.beat()
	if next := h.next(); !next.IsZero() {
		t.Errorf("it looks at %v", next)
	}
	if got := h.due(time.Now().Add(time.Hour), true, true, time.Hour); got != live {
		t.Errorf("%v", got)
	}
}

func TestTheShelfHasOneOfEachUse(t *testing.T) {
	open := func() int {
		t.Helper()
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(fd) })
		return fd
	}
	given, first, second, refused := open(), open(), open(), open()
	s := shelf{{Use: systemd.Unix, Given: true, FD: given}}
	s.put(Held{Use: systemd.Listen, Address: "a:1", FD: first})
	s.put(Held{Use: systemd.Listen, Address: "a:2", FD: second})
	s.put(Held{Use: systemd.Unix, FD: refused})
	if want := `KITA_KEEPER_HELD=[{"use":"unix","given":true},{"use":"listen","address":"a:2"}]`; s.environ() != want {
		t.Errorf("got  %s\nwant %s", s.environ(), want)
	}
	if got := s.descriptors(); len(got) != 2 || got[0] != given || got[1] != second {
		t.Errorf("descriptors %v, want %v", got, []int{given, second})
	}
	for _, fd := range []int{first, refused} {
		if err := syscall.Close(fd); err != syscall.EBADF {
			t.Errorf("descriptor %d is still open: %v", fd, err)
		}
	}
	if got := (shelf)(nil).environ(); got != "KITA_KEEPER_HELD=" {
		t.Errorf("an empty one is told as %s", got)
	}
}

// TestListenersOutliveTheServerAndTheKeepersImage: a keeper that becomes another
// version asks for what the server bound, and has kept what systemd gave.
func TestListenersOutliveTheServerAndTheKeepersImage(t *testing.T) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	given, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	l := newListener(t)
	h := newHouseWith(t, []*os.File{given}, nil, "TEST_GOOD=20ms", "NOTIFY_SOCKET="+l.name, "LISTEN_FDS=1", "LISTEN_FDNAMES=kita.socket")
	v := h.server().serves()
	l.wants("READY=1")
	const systemds, bound = `listen "" given=true accepts=true`, `unix "/run/sock" given=false accepts=true`
	if got := v.do("held"); got != systemds {
		t.Errorf("the first server has %s", got)
	}
	if got := v.do("environ"); got != "[]" {
		t.Errorf("the server has %s", got)
	}
	if got := v.do("hold unix /run/sock") + v.do("say status all well"); got != "okok" {
		t.Fatal(got)
	}
	l.wants("STATUS=all well")
	v.tell("die")
	v = h.server().serves()
	l.wants("STATUS=the server ended (killed by signal 9), it is started again", "READY=1")
	if got := v.do("held"); got != systemds+"; "+bound {
		t.Errorf("after a crash the server has %s", got)
	}

	v.tell("upgrade " + h.newVersion(""))
	next := h.server().serves()
	l.wants("RELOADING=1", "READY=1")
	// The keeper has become it.
	next.wantHear("asked, ok")
	l.wants("READY=1")
	if got := next.do("held"); got != "" {
		t.Errorf("the new version inherits %s from the keeper", got)
	}
	next.tell("die")
	last := h.server().serves()
	l.wants("STATUS=the server ended (killed by signal 9), it is started again", "READY=1")
	if got := last.do("held"); got != systemds+"; "+bound {
		t.Errorf("after a crash under the new keeper the server has %s", got)
	}
	if got := last.do("environ"); got != "[]" {
		t.Errorf("the server has %s", got)
	}
	h.signal(syscall.SIGHUP)
	last.wantHear("signal hangup")
	l.wants("RELOADING=1")
	if got := last.do("say reloaded"); got != "ok" {
		t.Fatal(got)
	}
	l.wants("READY=1")
	h.signal(syscall.SIGTERM)
	last.wantHear("signal terminated")
	last.tell("end 0")
	h.wantEnd(0)
	l.wants("STOPPING=1")
	l.isEmpty()
}
