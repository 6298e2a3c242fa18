package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

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
	ctx, told := catchSignals(ctx)
	defer told.release()
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
	past := history.Open(history.Options{Dir: dirs.State, NewBoot: !st.SameBoot(), Rest: before.rest(), Logger: logger})
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
	s.signals = told
	// What is at the path now is the key that hostKey was read from.
	keyFile, _ := os.ReadFile(filepath.Join(dirs.State, hostKeyName))
	s.ground = newGround(&ground{store: st, dirs: dirs, logger: logger,
		others: func(stateAnew bool) error { return s.renewOthers(stateAnew, keyFile) }})
	defer s.ground.close()
	s.reconciler.Glance = s.ground.nudge
	return s.live(ctx, o.file, before, manager)
}

// nameProcess sets what `ps -e` and `top` call this process, which was executed by
// a path that says nothing. Without /proc it stays as it is.
func nameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

func openStore(dirs keeper.Dirs, id string, before *handover, logger *slog.Logger) (*store.Store, error) {
	boot, err := runtime.BootID()
	if err != nil {
		return nil, fmt.Errorf("which boot is this: %w", err)
	}
	st, err := store.Open(store.Options{StateDir: dirs.State, RunDir: dirs.Run, BootID: boot, ID: id, Locks: before.locks(), Files: before.files(), Logger: logger})
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
	signals   signals
	ground    *ground
	// good is what held of server.yml last.
	good *keptGood
	// socketErr is why the unix socket cannot be made again, nil where it is there.
	socketErr atomic.Pointer[error]
}

var _ reconciler.Runtime = (*runtime.Host)(nil)
var _ runtime.Sink = (*reconciler.Reconciler)(nil)
var _ reconciler.History = (*history.History)(nil)

func newServer(config configuration, st *store.Store, past *history.History, l *listeners, link *keeper.Link, dirs keeper.Dirs, hostKey ssh.Signer, logger *slog.Logger) *server {
	s := &server{logger: logger, link: link, store: st, history: past, dirs: dirs, listeners: l}
	s.good = &keptGood{lastGood: lastGood{dirs.Run}}
	s.settings = newSettings(config, s.good, logger)
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
func newSettings(config configuration, good *keptGood, logger *slog.Logger) *reconciler.Settings {
	settings := reconciler.NewSettingsDespite(config.Server, config.problem)
	settings.Keep = func(content []byte) {
		logFailure(logger, "save the content of server.yml", good.save(config.File, content))
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

func logFailure(logger *slog.Logger, operation string, err error) {
	if err != nil {
		logger.Error("cannot "+operation, "err", err)
	}
}
