package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control"
	"kita/keeper"
	"kita/reconciler"
	"kita/reconciler/history"
	"kita/reconciler/store"
	"kita/runtime"
	"kita/runtime/cgroup"
	"kita/spec"
	"kita/systemd"
)

// closeTime is what the answers in flight have when the server is shut down.
const closeTime = 3 * time.Second

// supervise is the server, from its configuration to its end. The children
// outlive it unless the command kill ended it, or a signal with on_exit: stop.
func (p *program) supervise(ctx context.Context, o serveOptions, link *keeper.Link, manager *systemd.Manager, logger *slog.Logger) error {
	nameProcess("kita")
	catchIgnored()
	reserveThreads(serverThreads)
	widen()
	defer manageMemory(quietAfter)()
	before, err := takeHandover()
	if err != nil {
		return err
	}
	former := formerDirs(before, link)
	config, err := loadConfig(o.file, former.Run, logger)
	if err != nil {
		return err
	}
	// From here on a signal ends what has been begun, in order.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hangup, upgrade := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	signal.Notify(upgrade, syscall.SIGUSR2)
	defer signal.Stop(upgrade)
	dirs, err := chooseDirs(config.Server, former)
	if err != nil {
		return err
	}
	st, err := openStore(dirs, link.ID(), before, logger)
	if err != nil {
		return err
	}
	defer func() { logFailure(logger, "close the store", st.Close()) }()
	link.Run(st.ID(), dirs)
	past := history.Open(history.Options{Dir: dirs.State, NewBoot: !st.SameBoot(), Logger: logger})
	defer past.Close()

	// Only the owner of the store's lock may replace the socket in it.
	listeners, err := openListeners(before, heldBefore(link, manager), config.Server, dirs.Run, link)
	if err != nil {
		return err
	}
	defer listeners.close()
	if addr, err := o.debugAddr(); err == nil && addr.IsValid() {
		defer serveDebug(addr, logger)()
	}
	hostKey, err := openHostKey(dirs.State, config.Encrypt, logger)
	if err != nil {
		return err
	}
	for _, warning := range reconciler.StartWarnings(os.Geteuid(), config.Encrypt, config.Server, listeners.names()) {
		logger.Warn(warning)
	}
	s := newServer(config, st, past, listeners, link, dirs, hostKey, logger)
	defer s.cgroups.Close()
	defer s.host.Close()
	defer s.reconciler.Stop()
	// Nobody is answered before the live children have been adopted: until
	// then a command could start one of them twice. Clients wait meanwhile,
	// the listeners are open.
	s.recordBegin(before)
	if err := s.reconciler.Start(s.host); err != nil {
		s.recordEnd("ends, it cannot begin: " + err.Error())
		return err
	}
	s.hangup, s.upgradeSignal = hangup, upgrade
	s.manager, s.herald = manager, chooseHerald(link, manager, logger)
	s.upgrader = newUpgrader(upgradeCheck{handoverFormat, dirs.State, dirs.Run, s.underSystemd(), o.file}, before, s.upgradable, logger)
	s.carryOn(before)
	status, err := s.run(ctx, stop)
	if err == nil {
		link.Exit(status)
		err = withStatus(status)
	}
	return err
}

// nameProcess sets what `ps -e` and `top` call this process, which was executed by
// a path that says nothing. Without /proc it stays as it is.
func nameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

func openStore(dirs keeper.Dirs, id string, before *handover, logger *slog.Logger) (*store.Store, error) {
	boot, err := runtime.BootID()
	if err != nil {
		return nil, fmt.Errorf("which boot is this: %w", err)
	}
	st, err := store.Open(store.Options{StateDir: dirs.State, RunDir: dirs.Run, BootID: boot, ID: id, Locks: before.locks(), Logger: logger})
	var locked *store.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, locked
	case err != nil:
		return nil, fmt.Errorf("open the state: %w", err)
	}
	if damage := st.Damage(); damage != nil {
		logger.Error("state was lost", "err", damage)
	}
	return st, nil
}

// server is everything that runs between the start and the end.
type server struct {
	logger     *slog.Logger
	link       *keeper.Link
	store      *store.Store
	history    *history.History
	dirs       keeper.Dirs
	settings   *reconciler.Settings
	listeners  *listeners
	reconciler *reconciler.Reconciler
	cgroups    *cgroup.Tree
	host       *runtime.Host
	control    *control.Server
	upgrader   *upgrader
	// manager is the service manager where there is no keeper, else nil.
	manager *systemd.Manager
	herald  herald
	// endReport ends what report began.
	endReport func()
	// hangup is where SIGHUP arrives, upgradeSignal where SIGUSR2 does.
	hangup, upgradeSignal <-chan os.Signal
}

var _ reconciler.Runtime = (*runtime.Host)(nil)
var _ runtime.Sink = (*reconciler.Reconciler)(nil)
var _ reconciler.History = (*history.History)(nil)

func newServer(config configuration, st *store.Store, past *history.History, l *listeners, link *keeper.Link, dirs keeper.Dirs, hostKey ssh.Signer, logger *slog.Logger) *server {
	s := &server{logger: logger, link: link, store: st, history: past, dirs: dirs, listeners: l}
	s.settings = newSettings(config, dirs.Run, logger)
	m := newMetrics(s, st)
	s.reconciler = reconciler.New(reconciler.Options{
		Settings: s.settings, Catalogue: spec.NewCatalogue(), Store: st,
		Observer: m, History: past, Logger: logger, Version: version, Listeners: l.names(), Activated: l.activated(),
		StateDir: dirs.State, RunDir: dirs.Run, HostKey: fingerprint(hostKey), Keeper: link.PID(),
	})
	s.host, s.cgroups = newHost(s.reconciler, st, dirs, s.diskBudget, link, logger)
	s.reconciler.Containment = s.host.Containment()
	for _, line := range s.outdated() {
		logger.Warn(line)
	}
	s.control = control.NewServer(control.Options{
		Service: service{crashOnly{s.reconciler, logger}, s}, Logger: logger, Metrics: m.Handler(), Encrypt: config.Encrypt,
		Config: s.reconciler.Config, HostKey: hostKey, Port: portOf(l.tcp), MetricsPort: portOf(l.metrics),
		Exec:           func(ctx context.Context, e control.Exec) int { return execLine(ctx, e, logger) },
		AllowedHosts:   ownNames(),
		Upgrade:        func(ctx context.Context, binary, by string) error { return s.upgrader.want(ctx, binary, by) },
		ObserveCommand: func(verb, result string) { m.Command(verb, resultClass(result)) },
	})
	return s
}

// diskBudget is how much the output files may take now, in bytes; 0 is any.
func (s *server) diskBudget() uint64 { return s.settings.Server().DiskBudget }

// newSettings keeps each good version of server.yml for the next server.
func newSettings(config configuration, runDir string, logger *slog.Logger) *reconciler.Settings {
	settings := reconciler.NewSettingsDespite(config.Server, config.problem)
	settings.Keep = func(content []byte) {
		logFailure(logger, "save the content of server.yml", lastGood{runDir}.save(config.File, content))
	}
	if config.problem == nil {
		settings.Keep(config.content)
	}
	return settings
}

// ownNames are this machine's name, with its domain and without.
func ownNames() []string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return nil
	}
	names := []string{name}
	if short, _, found := strings.Cut(name, "."); found && short != "" {
		names = append(names, short)
	}
	return names
}

// run serves until a signal, the command kill, the end of exit_with's child or
// that of the keeper ends it, and returns the exit status.
func (s *server) run(ctx context.Context, restoreSignals func()) (status int, err error) {
	failed := s.listeners.serve(s.control)
	// The mode's wishes are on disk, and who asks is answered.
	s.endReport = s.report()
	defer s.endReport()
	s.herald.Ready()
	// The mode is carried out by the reconciler's workers; nothing but a line of
	// the log waits for it.
	carriedOut := s.reconciler.CarriedOut()
	s.logger.Info("serving", "pid", os.Getpid(), "version", version, "listeners", strings.Join(s.listeners.names(), " "))
	told := ctx.Done()
	var extend <-chan time.Time
	for ended := false; !ended; {
		select {
		case <-carriedOut:
			carriedOut = nil
			s.logger.Info("ready", "listeners", strings.Join(s.listeners.names(), " "))
		case <-s.hangup:
			s.logger.Info("SIGHUP: the files are read again")
			s.herald.Reloading()
			s.reconciler.Refresh()
			s.herald.Reloaded()
		case <-s.upgradeSignal:
			s.upgrader.onSignal()
		case o := <-s.upgrader.orders:
			err := s.upgradable()
			if told != nil && err == nil {
				return exitFailed, s.upgrade(ctx, o)
			}
			o.refuse(cmp.Or(err, errEnding))
		case <-told:
			// A second signal ends the program at once.
			restoreSignals()
			told = nil
			s.herald.Stopping()
			if ended = s.leavesChildren(context.Cause(ctx)); !ended {
				s.herald.Extend(extension)
				ticker := time.NewTicker(extension / 3)
				defer ticker.Stop()
				extend = ticker.C
			}
		case <-extend:
			s.herald.Extend(extension)
		case <-s.link.Asked():
			s.listeners.holdAll(s.link)
		case <-s.link.Gone():
			s.logger.Error("the keeper is gone, the server ends, the children go on")
			s.recordEnd("ends, its keeper is gone, the children go on")
			// Whoever waits is told so at once: the next server needs the locks.
			s.reconciler.Stop()
			status, ended = exitFailed, true
		case <-s.reconciler.Ended():
			s.tellEnd()
			status, ended = s.reconciler.ExitStatus(), true
		case err = <-failed:
			s.recordEnd(fmt.Sprintf("ends, the children go on: %v", err))
			ended = true
		}
	}
	s.herald.Stopping()
	// With an error another server follows, and takes the addresses as they are.
	if retire := s.listeners.retire(); err == nil {
		defer retire()
	}
	s.shutDown()
	return status, err
}

// tellEnd is the last word on the children that were to be stopped.
func (s *server) tellEnd() {
	if left := s.reconciler.Unstopped(); len(left) > 0 {
		s.logger.Error("not all children are stopped, the server ends; the next one goes on stopping them", "children", strings.Join(left, " "))
		return
	}
	s.logger.Info("all children are stopped, the server ends")
}

// leavesChildren begins the end that a signal asks for. It returns false where
// the children are stopped first.
func (s *server) leavesChildren(cause error) bool {
	switch onExit := s.settings.Server().OnExit; {
	case onExit == spec.StopChildren, onExit == "" && s.link.Init():
		s.logger.Info("shutting down, the children are stopped", "cause", cause)
		s.reconciler.Kill("SIGTERM")
		return false
	}
	s.logger.Info("shutting down, the children go on", "cause", cause)
	s.recordEnd("ends, the children go on")
	return true
}

// shutDown answers whoever is still waiting. The rest is closed by serve, which
// opened it.
func (s *server) shutDown() {
	s.upgrader.end()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := s.control.Close(ctx); err != nil {
		s.logger.Warn("some clients got no answer", "err", err)
	}
	s.listeners.wait()
}

func logFailure(logger *slog.Logger, operation string, err error) {
	if err != nil {
		logger.Error("cannot "+operation, "err", err)
	}
}
