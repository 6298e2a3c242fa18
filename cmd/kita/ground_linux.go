package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/keeper"
	"kita/reconciler/store"
)

const (
	// groundSettles is how long it is waited after a removal: whoever removes a
	// directory is to come to its end first.
	groundSettles = 100 * time.Millisecond
	// groundAgain is how long after a failure it is tried again.
	groundAgain = time.Second
	// groundEnds is how long it may take to its end; a pump may be about to finish.
	groundEnds = 10 * time.Second
)

// ground looks after what lies under a running server: its directories and what has
// to be found in them by a path. Somebody may remove them, and what is open there
// is of no use to anybody else then. It looks when the kernel tells that something
// was removed, and where the loop wakes anyway.
type ground struct {
	store  *store.Store
	dirs   keeper.Dirs
	logger *slog.Logger
	// others makes again what others have in the directories; stateAnew: the state
	// directory was made again.
	others func(stateAnew bool) error
	// sockets holds a token when whoever has the listeners is to look after the
	// unix socket.
	sockets chan struct{}
	// nudged holds a token when it is to look without having been told.
	nudged chan struct{}
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
	// watch is inotify; nil where there is none to be had.
	watch   *os.File
	removed chan struct{}

	// The rest is owned by the goroutine of run. watches are their numbers by path,
	// seen is when the state directory was made again, as far as others saw to it.
	watches map[string]int
	seen    time.Time
}

// newGround begins to look.
func newGround(g *ground) *ground {
	g.sockets, g.nudged, g.removed = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	g.quit, g.done = make(chan struct{}), make(chan struct{})
	g.watches = map[string]int{}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		g.watch = os.NewFile(uintptr(fd), "inotify")
	} else {
		g.logger.Warn("a removal of the server's directories is noticed late", "err", err)
	}
	go g.run()
	return g
}

// nudge has it look soon. It does not block.
func (g *ground) nudge() { putToken(g.nudged) }

// putToken puts one into a channel that has room for one.
func putToken(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends it, and waits for what it is about, but for a disk that hangs.
func (g *ground) close() {
	g.once.Do(func() { close(g.quit) })
	timeout := time.NewTimer(groundEnds)
	defer timeout.Stop()
	select {
	case <-g.done:
	case <-timeout.C:
		g.logger.Error("the server's directories do not answer")
	}
}

func (g *ground) run() {
	defer close(g.done)
	if g.watch != nil {
		read := make(chan struct{})
		go func() {
			defer close(read)
			g.read()
		}()
		defer func() {
			_ = g.watch.Close()
			<-read
		}()
	}
	// What was removed before it was watched is seen by a look after that.
	g.watchAll()
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-g.quit:
			return
		case <-g.removed:
			wait.Reset(groundSettles)
		case <-g.nudged:
			wait.Reset(0)
		case <-wait.C:
			well := g.look()
			switch anew := g.watchAll(); {
			case !well:
				wait.Reset(groundAgain)
			case anew:
				wait.Reset(groundSettles)
			}
		}
	}
}

// look makes again what is gone; false where that has to be tried again.
func (g *ground) look() bool {
	_, err := g.store.Restore()
	if err != nil {
		// Told by info and in the log, by the store.
		return false
	}
	anew := g.madeState()
	err = g.others(anew.After(g.seen))
	if err == nil {
		g.seen = anew
	}
	putToken(g.sockets)
	logFailure(g.logger, "make again what was removed", err)
	return err == nil
}

// madeState is when the state directory was made again last.
func (g *ground) madeState() time.Time {
	for _, r := range g.store.Restored() {
		if r.Path == filepath.Join(g.dirs.State, "lock") {
			return r.At
		}
	}
	return time.Time{}
}

// watchedNames are those whose removal is of interest; a directory that is removed
// has lost one of them before.
var watchedNames = []string{"lock", "journal", socketName, "children", "pump", "pump.sock", "exits", hostKeyName, "output"}

// read tells of removals, until the watch is closed. It is parked in Go's poller.
func (g *ground) read() {
	buf := make([]byte, 16<<10)
	for {
		n, err := g.watch.Read(buf)
		if err != nil {
			return
		}
		if isOfInterest(buf[:n]) {
			putToken(g.removed)
		}
	}
}

// isOfInterest tells whether one of the events, see inotify(7), is of a directory
// itself or of one of watchedNames.
func isOfInterest(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		mask, length := binary.NativeEndian.Uint32(events[4:]), binary.NativeEndian.Uint32(events[12:])
		rest := events[unix.SizeofInotifyEvent:]
		end := min(int(length), len(rest))
		name, _, _ := bytes.Cut(rest[:end], []byte{0})
		events = rest[end:]
		if mask&unix.IN_IGNORED == 0 && (len(name) == 0 || slices.Contains(watchedNames, string(name))) {
			return true
		}
	}
	return false
}

// watchAll watches both directories as they are now at their paths, and tells whether
// one of them is gone or was not watched before.
func (g *ground) watchAll() (anew bool) {
	if g.watch == nil {
		return false
	}
	const removals = unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	raw, err := g.watch.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		for _, dir := range []string{g.dirs.State, g.dirs.Run} {
			now, err := unix.InotifyAddWatch(int(fd), dir, removals)
			before, had := g.watches[dir]
			if had && (err != nil || before != now) && g.dirs.State != g.dirs.Run {
				_, _ = unix.InotifyRmWatch(int(fd), uint32(before))
			}
			delete(g.watches, dir)
			if err == nil {
				g.watches[dir] = now
			}
			anew = anew || errors.Is(err, unix.ENOENT) || err == nil && (!had || before != now)
		}
	})
	return anew
}

// renewOthers makes again what others than the store and the listeners have in the
// directories. Without a host key somebody wants a new one from the next start on,
// unless the directory is gone as a whole.
func (s *server) renewOthers(stateAnew bool, hostKey []byte) error {
	var err error
	if stateAnew {
		err = restoreHostKey(s.dirs.State, hostKey)
	}
	s.host.RenewPump()
	// What is known of rotated files is written into it, file by file.
	return errors.Join(err, s.good.again(), os.MkdirAll(filepath.Join(s.dirs.State, "output"), 0o700))
}

// renewSocket makes the unix socket again where its file is gone.
func (s *server) renewSocket() {
	made, err := s.listeners.renewUnix(s.control, s.dirs.Run, s.link)
	switch {
	case err != nil:
		if s.socketErr.Swap(&err) == nil {
			s.logger.Error("the unix socket was removed and cannot be made again", "err", err)
		}
		time.AfterFunc(groundAgain, s.ground.nudge)
	case made:
		s.socketErr.Store(nil)
		s.store.NoteRestored(filepath.Join(s.dirs.Run, socketName))
	default:
		s.socketErr.Store(nil)
	}
}

// socketProblem is why there is no unix socket at its path; "" while there is one.
func (s *server) socketProblem() string {
	if err := s.socketErr.Load(); err != nil {
		return "the unix socket was removed and cannot be made again: " + (*err).Error()
	}
	return ""
}

// restoreHostKey writes the host key into a state directory that has none.
func restoreHostKey(stateDir string, content []byte) error {
	if len(content) == 0 {
		return nil
	}
	file := filepath.Join(stateDir, hostKeyName)
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	next := file + ".new"
	_ = os.Remove(next)
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(next, file)
	}
	if err != nil {
		_ = os.Remove(next)
	}
	return err
}
