package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kita/runtime/exitlog"
	"kita/systemd"
)

// Options are what a keeper needs.
type Options struct {
	Logger *slog.Logger
	// Args and Env are what servers are started with. Args[0] is not what is
	// executed: that is the image of this process, or what an upgrade named.
	Args, Env []string
	// Timing is DefaultTiming if it is zero.
	Timing Timing
	// Manager is the service manager that started this process, nil if none did.
	Manager *systemd.Manager
}

// keeper is one call of Run, and belongs to its goroutine.
type keeper struct {
	Options
	init bool
	// strangers: there were children before the first server.
	strangers bool
	policy    policy
	server    server
	graves    graveyard
	herald    herald
	shelf     shelf
	// stateDir is what the latest server has said, empty until one has.
	stateDir string
	// startAt is when a server is to be started, retryAt when ends that could
	// not be written down are tried again; zero means never.
	startAt, retryAt time.Time
	// ended and told are what signals come by.
	ended, told chan os.Signal
	// upgradeAsked: SIGUSR2 came while no server could hear it.
	upgradeAsked bool
	// orphaned: children of a dead server may not have begun when they were
	// asked what they are.
	orphaned bool
	done     bool
	status   int
}

// Run keeps a server until there is none to be kept any more, and returns the
// exit status that the program must end with. The error says that no server
// could be started at all. While it runs it reaps every child of the process,
// so the caller must have none of its own.
func Run(o Options) (status int, err error) {
	if o.Timing.Steps == nil {
		o.Timing = DefaultTiming()
	}
	k := &keeper{Options: o, init: os.Getpid() == 1, policy: policy{timing: o.Timing},
		herald: newHerald(o.Manager, o.Logger), shelf: newShelf(o.Manager)}
	if k.graves.boot, err = exitlog.Boot(); err != nil {
		return 1, err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil && !k.init {
		return 1, fmt.Errorf("become the parent of orphans: %w", err)
	}
	// Only the latest SIGCHLD counts; of the others none may be lost.
	k.ended, k.told = make(chan os.Signal, 1), make(chan os.Signal, 64)
	k.catch()
	defer signal.Stop(k.ended)
	defer signal.Stop(k.told)
	resumed, err := k.resume()
	if err != nil {
		return 1, err
	}
	if !resumed {
		// What a shell began before it executed this program.
		k.strangers = len(children()) > 0
		if err := k.start(time.Now()); err != nil {
			return 1, err
		}
	}
	k.loop()
	k.herald.stops()
	// What ended beside the server has its end written down too.
	k.graves.buryAll(0)
	k.graves.close()
	return k.status, nil
}

// catch has the signals reported that mean something to a keeper, and those
// that would end it by accident. These are not ignored, because the server
// would inherit that.
func (k *keeper) catch() {
	signal.Notify(k.ended, syscall.SIGCHLD)
	signal.Notify(k.told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR2)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGALRM)
}

func (k *keeper) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !k.done {
		timer.Reset(k.untilNext())
		select {
		case <-k.ended:
		case <-timer.C:
		case sig := <-k.told:
			k.passOn(sig.(syscall.Signal))
		case p, open := <-k.server.packets:
			k.heard(p, open)
		}
		k.sweep()
		k.due(time.Now())
	}
}

// untilNext is how long nothing but an event can be of interest.
func (k *keeper) untilNext() time.Duration {
	const long = time.Hour
	wait := long
	for _, at := range []time.Time{k.startAt, k.retryAt, k.policy.next(), k.herald.next()} {
		if !at.IsZero() {
			wait = min(wait, time.Until(at))
		}
	}
	return max(wait, 0)
}

// due does what it is time for.
func (k *keeper) due(now time.Time) {
	if k.done {
		return
	}
	if !k.startAt.IsZero() && !now.Before(k.startAt) {
		k.startAt = time.Time{}
		if err := k.start(now); err != nil {
			k.notStarted(now, err)
		}
	}
	if k.policy.overdue(now) {
		k.Logger.Error("the new version does not get ready, it is killed", "binary", k.policy.binary, "pid", k.server.pid)
		k.server.signal(syscall.SIGKILL)
	}
	switch k.herald.due(now, k.server.pid != 0, k.policy.ready, now.Sub(k.policy.startedAt)) {
	case abort:
		k.Logger.Error("the server hangs, it is told to write down where it stands", "pid", k.server.pid)
		k.server.signal(syscall.SIGABRT)
	case kill:
		k.Logger.Error("the server hangs, it is killed", "pid", k.server.pid)
		k.server.signal(syscall.SIGKILL)
	}
	if k.policy.proven(now) && k.server.pid != 0 {
		k.become(k.policy.binary)
	}
}

func (k *keeper) start(now time.Time) error {
	env := linkEnviron(k.Env, greeting{
		init: k.init, strangers: k.strangers, before: Dirs{k.stateDir, k.graves.runDir}, id: k.graves.server,
		tells: k.Manager.Listens(), watchdog: k.Manager.Watchdog(),
	})
	s, err := startServer(k.policy.binary, k.Args, append(env, k.shelf.environ()), k.shelf.descriptors())
	if err != nil {
		return err
	}
	k.server = s
	k.policy.started(now)
	k.herald.started()
	return nil
}

// notStarted decides what to do when there is not even a process.
func (k *keeper) notStarted(now time.Time, err error) {
	var cannot *os.PathError
	if k.policy.binary != "" && errors.As(err, &cannot) && !lacks(err) {
		k.Logger.Error("the new version cannot be started, the old one comes back", "err", err)
		k.policy.fallBack()
		k.startAt = now
		return
	}
	pause := k.policy.pause(now)
	k.Logger.Error("no server can be started, another try follows", "err", err, "pause", pause)
	k.startAt = now.Add(max(pause, k.Timing.Steps[len(k.Timing.Steps)-1]))
}

// lacks tells whether the machine lacked something that has nothing to do with
// the binary.
func lacks(err error) bool {
	for _, e := range []error{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// sweep sees to all that have ended, the server first: its death comes before
// the question what its children are.
func (k *keeper) sweep() {
	if k.server.pid != 0 {
		if _, status, ok := peek(unix.P_PID, k.server.pid); ok {
			k.serverEnded(endOf(status))
		}
	}
	now := time.Now()
	if !k.retryAt.IsZero() && now.Before(k.retryAt) {
		return
	}
	was := k.graves.stuck
	k.retryAt = time.Time{}
	all := k.graves.buryAll(k.server.pid)
	if !all {
		k.retryAt = now.Add(k.Timing.Retry)
	}
	switch {
	case !all && was == nil:
		k.Logger.Error("how a process ended cannot be written down, it is kept until it can", "err", k.graves.stuck)
	case all && was != nil && k.graves.stuck == nil:
		k.Logger.Info("ends can be written down again")
	}
}

func (k *keeper) serverEnded(e end) {
	for _, p := range k.server.close() {
		k.heard(p, true)
	}
	pid := k.server.pid
	k.server = server{}
	reap(pid)
	now := time.Now()
	v := k.policy.ended(now, e)
	if v.exit {
		k.done, k.status = true, v.code
		return
	}
	if v.fellBack != "" {
		k.Logger.Error("the new version crashed too often, the old one comes back", "binary", v.fellBack)
	}
	k.Logger.Warn("the server ended unexpectedly, it is started again", "pid", pid, "exit", e.String(), "pause", v.pause)
	if !k.policy.ending {
		k.herald.status("the server ended (" + e.String() + "), it is started again")
	}
	k.startAt = now.Add(v.pause)
	k.due(now)
	k.graves.remember()
	k.orphaned = true
}

// heard takes in what the server said.
func (k *keeper) heard(p packet, open bool) {
	if !open {
		// Its end follows, or it has closed what it must not.
		k.server.packets = nil
		return
	}
	m, err := parseMessage(p.text)
	if err == nil && m.word == wordHold && p.fd >= 0 {
		k.shelf.put(Held{Use: m.use, Address: m.address, FD: p.fd})
		return
	}
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
	if err != nil {
		k.Logger.Warn("the server says what the keeper does not understand", "err", err)
		return
	}
	now := time.Now()
	switch m.word {
	case wordState:
		k.stateDir = m.dir
	case wordRun:
		k.graves.open(m.id, m.dir)
		k.server.listens = true
		if k.policy.ending {
			k.server.signal(syscall.SIGTERM)
		}
	case wordReady:
		k.policy.serves(now)
		k.herald.serves()
		if k.orphaned {
			k.orphaned = false
			k.graves.remember()
		}
		if k.upgradeAsked {
			k.upgradeAsked = false
			k.server.signal(syscall.SIGUSR2)
		}
	case wordUpgrade:
		k.upgrades(now, m.path)
	case wordExit:
		k.policy.meant, k.policy.code = true, m.code
		k.herald.stops()
	case wordStatus:
		k.herald.status(m.text)
	case wordReloading:
		k.herald.reloads()
	case wordReloaded:
		k.herald.reloaded()
	case wordBeat:
		k.herald.beat()
	case wordExtend:
		k.herald.extends(m.more)
	}
}

// upgrades notes that the server is about to execute path, or that it could not.
func (k *keeper) upgrades(now time.Time, path string) {
	k.server.listens = path == ""
	if path != "" {
		k.policy.upgrade(now, path)
		k.herald.started()
		k.herald.reloads()
		return
	}
	k.policy.noUpgrade()
	if k.policy.ending {
		k.server.signal(syscall.SIGTERM)
	}
}

// passOn passes a signal on. A server that does not handle signals yet would die
// of it: then it is told when it does, but at the second time at once.
func (k *keeper) passOn(sig syscall.Signal) {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		again := k.policy.ending
		k.policy.told()
		k.herald.stops()
		switch {
		case k.server.pid == 0:
			k.startAt = time.Now()
			if again {
				k.done, k.status = true, 128+int(sig)
			}
		case k.server.listens || again:
			k.server.signal(syscall.SIGTERM)
		}
	case syscall.SIGUSR2:
		if k.server.listens && k.policy.ready {
			k.server.signal(sig)
		} else {
			k.upgradeAsked = true
		}
	default:
		// A server that has not got so far reads its files anyway, and says that
		// it is ready then.
		if sig == syscall.SIGHUP {
			k.herald.reloads()
		}
		if k.server.listens {
			k.server.signal(sig)
		}
	}
}
