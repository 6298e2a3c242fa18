package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"kita/spec"
	"kita/systemd"
)

// closeTime is what the answers in flight have when the server is shut down.
const closeTime = 3 * time.Second

// live adopts the children, serves until the end, and tells the keeper the status.
func (s *server) live(ctx context.Context, file string, before *handover, manager *systemd.Manager) error {
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
	s.manager, s.herald = manager, chooseHerald(s.link, manager, s.logger)
	s.upgrader = newUpgrader(upgradeCheck{handoverFormat, s.dirs.State, s.dirs.Run, s.underSystemd(), file}, before, s.upgradable, s.logger)
	s.carryOn(before)
	status, err := s.run(ctx)
	if err == nil {
		s.link.Exit(status)
		err = withStatus(status)
	}
	return err
}

// run serves until a signal, the command kill, the end of exit_with's child or
// that of the keeper ends it, and returns the exit status.
func (s *server) run(ctx context.Context) (status int, err error) {
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
		case <-s.signals.hangup:
			s.reread()
		case <-s.signals.upgrade:
			s.upgrader.onSignal()
		case o := <-s.upgrader.orders:
			err := s.upgradable()
			if told != nil && err == nil {
				return exitFailed, s.upgrade(ctx, o)
			}
			o.refuse(cmp.Or(err, errEnding))
		case <-told:
			// A second signal ends the program at once.
			s.signals.endAtOnce()
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
		case <-s.ground.sockets:
			s.renewSocket()
		case <-s.link.Asked():
			s.listeners.holdAll(s.link)
		case <-s.link.Gone():
			s.orphaned()
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

// reread is for those who ask for it; changes are noticed without.
func (s *server) reread() {
	s.logger.Info("SIGHUP: the files are read again")
	s.herald.Reloading()
	s.reconciler.Refresh()
	s.herald.Reloaded()
}

// orphaned begins the end that follows that of the keeper.
func (s *server) orphaned() {
	s.logger.Error("the keeper is gone, the server ends, the children go on")
	s.recordEnd("ends, its keeper is gone, the children go on")
	// Whoever waits is told so at once: the next server needs the locks.
	s.reconciler.Stop()
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
