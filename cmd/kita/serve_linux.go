package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"kita/control"
	"kita/reconciler"
	"kita/reconciler/store"
	"kita/runtime"
	"kita/runtime/cgroup"
	"kita/spec"
)

// closeTime is what the answers in flight have when the server is shut down.
const closeTime = 3 * time.Second

// serve is the server, from its configuration to its end. The children outlive
// it unless the command kill ended it.
func (p *program) serve(ctx context.Context, o serveOptions) error {
	logger, err := p.logger(o)
	if err != nil {
		return err
	}
	catchPipe()
	config, err := loadConfig(o.file, logger)
	if err != nil {
		return err
	}
	// From here on a signal ends what has been begun, in order.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	st, stateDir, runDir, err := openStore(config, logger)
	if err != nil {
		return err
	}
	defer func() { logFailure(logger, "close the store", st.Close()) }()

	// Only the owner of the store's lock may replace the socket in it.
	listeners, err := listen(config, runDir)
	if err != nil {
		return err
	}
	defer listeners.close()
	for _, warning := range reconciler.ListenerWarnings(config.Encrypt, listeners.names()) {
		logger.Warn(warning)
	}
	s := newServer(config, st, listeners, stateDir, runDir, logger)
	defer s.cgroups.Close()
	defer s.host.Close()
	defer s.reconciler.Stop()
	// Nobody is answered before the live children have been adopted: until
	// then a command could start one of them twice. Clients wait meanwhile,
	// the listeners are open.
	if err := s.reconciler.Start(s.host); err != nil {
		return err
	}
	return s.run(ctx, stop)
}

// catchPipe keeps a broken pipe on stderr, where the log goes, from ending the
// server. The signal is caught and not ignored because children would inherit
// that.
func catchPipe() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

func loadConfig(file string, logger *slog.Logger) (*spec.Server, error) {
	path, warnings, err := spec.FindServerFile(file)
	for _, warning := range warnings {
		logger.Warn("server.yml", "problem", warning)
	}
	if err != nil {
		return nil, fmt.Errorf("find server.yml: %w", err)
	}
	if path == "" {
		logger.Warn("no server.yml was found, the defaults are in force: there are no load paths")
		return spec.DefaultServer(), nil
	}
	return spec.LoadServer(path)
}

func openStore(config *spec.Server, logger *slog.Logger) (st *store.Store, stateDir, runDir string, err error) {
	stateDir, runDir = config.StateDir, config.RunDir
	if stateDir == "" || runDir == "" {
		state, run, err := store.DefaultDirs()
		if stateDir == "" {
			stateDir = state
		}
		if runDir == "" {
			runDir = run
		}
		if err != nil && (stateDir == "" || runDir == "") {
			return nil, "", "", err
		}
	}
	boot, err := runtime.BootID()
	if err != nil {
		return nil, "", "", fmt.Errorf("which boot is this: %w", err)
	}
	st, err = store.Open(store.Options{StateDir: stateDir, RunDir: runDir, BootID: boot, Logger: logger})
	var locked *store.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, "", "", locked
	case err != nil:
		return nil, "", "", fmt.Errorf("open the state: %w", err)
	}
	if damage := st.Damage(); damage != nil {
		logger.Error("state was lost", "err", damage)
	}
	return st, stateDir, runDir, nil
}

// server is everything that runs between the start and the end.
type server struct {
	logger     *slog.Logger
	listeners  *listeners
	reconciler *reconciler.Reconciler
	host       *runtime.Host
	cgroups    *cgroup.Tree
	control    *control.Server
}

var _ reconciler.Runtime = (*runtime.Host)(nil)
var _ runtime.Sink = (*reconciler.Reconciler)(nil)
var _ control.Service = (*reconciler.Reconciler)(nil)

func newServer(config *spec.Server, st *store.Store, l *listeners, stateDir, runDir string, logger *slog.Logger) *server {
	s := &server{logger: logger, listeners: l}
	m := newMetrics(s, st)
	s.reconciler = reconciler.New(reconciler.Options{
		Settings: reconciler.NewSettings(config), Catalogue: spec.NewCatalogue(), Store: st,
		Observer: m, Logger: logger, Version: version, Listeners: l.names(),
		StateDir: stateDir, RunDir: runDir,
	})
	s.host, s.cgroups = newHost(s.reconciler, st, runDir, 0, logger)
	s.reconciler.Containment = s.host.Containment()
	s.control = control.NewServer(control.Options{
		Service: s.reconciler, Logger: logger, Metrics: m.Handler(), Encrypt: config.Encrypt,
		AllowedHosts:   ownNames(),
		ObserveCommand: func(verb, result string) { m.Command(verb, resultClass(result)) },
	})
	return s
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

// run serves until a signal or the command kill ends it.
func (s *server) run(ctx context.Context, restoreSignals func()) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	failed := s.listeners.serve(s.control)
	// The mode is carried out by the reconciler's workers; nothing but this
	// line of the log waits for it.
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	s.logger.Info("serving", "pid", os.Getpid(), "version", version, "listeners", strings.Join(s.listeners.names(), " "))
	var err error
	for ended := false; !ended; {
		select {
		case <-poll.C:
			if s.reconciler.Ready() == nil {
				poll.Stop()
				s.logger.Info("ready", "listeners", strings.Join(s.listeners.names(), " "))
			}
		case <-hangup:
			s.logger.Info("SIGHUP: the files are read again")
			s.reconciler.Refresh()
		case <-ctx.Done():
			// A second signal ends the program at once.
			restoreSignals()
			s.logger.Info("shutting down, the children go on", "cause", context.Cause(ctx))
			ended = true
		case <-s.reconciler.Ended():
			s.logger.Info("all children are stopped, the server ends")
			ended = true
		case err = <-failed:
			ended = true
		}
	}
	s.shutDown()
	return err
}

// shutDown answers whoever is still waiting. The rest is closed by serve, which
// opened it.
func (s *server) shutDown() {
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
