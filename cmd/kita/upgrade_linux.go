package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"kita/spec"
)

// answerTime is what requests that are being answered have before the next
// version takes over. Clients that connect wait meanwhile.
const answerTime = 2 * time.Second

// procSelf is the image that runs, even after its file was replaced.
const procSelf = "/proc/self/exe"

// upgrader takes the wishes for an upgrade, one at a time, and passes on those
// that can be fulfilled.
type upgrader struct {
	logger   *slog.Logger
	question upgradeCheck
	// binary is executed where none is named.
	binary string
	// able is nil when the server can be upgraded.
	able func() error

	// orders go to the goroutine that owns the server.
	orders chan order
	// busy holds a token while a wish is under way.
	busy chan struct{}
	// over ends when no order is taken any more, and with it the wishes of
	// signals.
	over    context.Context
	close   context.CancelFunc
	signals sync.WaitGroup
}

// order is an upgrade that nothing is known to be in the way of. The letter
// belongs to whoever has taken it.
type order struct {
	binary string
	letter letter
	// refused gets why it is not carried out after all.
	refused chan error
}

func newUpgrader(question upgradeCheck, before *handover, able func() error, logger *slog.Logger) *upgrader {
	u := &upgrader{
		logger: logger, question: question, able: able,
		orders: make(chan order), busy: make(chan struct{}, 1),
	}
	u.over, u.close = context.WithCancel(context.Background())
	if before != nil && before.Failure == "" {
		u.binary = before.Binary
	} else if path, err := os.Executable(); err == nil {
		// What the kernel appends when the file was replaced.
		u.binary = strings.TrimSuffix(path, " (deleted)")
	}
	return u
}

// want is control.Options.Upgrade.
func (u *upgrader) want(ctx context.Context, binary, by string) error {
	select {
	case u.busy <- struct{}{}:
		defer func() { <-u.busy }()
	default:
		return spec.Refuse(spec.Unavailable, "", "", "upgrade: another upgrade is under way")
	}
	if binary == "" {
		binary = u.binary
	}
	if err := u.able(); err != nil {
		return spec.Refuse(spec.Unavailable, "", "", "upgrade: %v", err)
	}
	to, err := u.question.ask(ctx, binary)
	if err != nil {
		u.logger.Warn("upgrade refused", "binary", binary, "by", by, "err", err)
		return spec.Refuse(spec.BadBinary, "", "", "upgrade to %s: %v", binary, err)
	}
	l, err := newLetter()
	if err != nil {
		return spec.Refuse(spec.Unavailable, "", "", "upgrade: %v", err)
	}
	o := order{binary, l, make(chan error, 1)}
	u.logger.Info("upgrading", "binary", binary, "by", by, "from", version, "to", to)
	select {
	case u.orders <- o:
		return o.await(ctx)
	case <-ctx.Done():
		err = ctx.Err()
	case <-u.over.Done():
		err = spec.Refuse(spec.Unavailable, "", "", "upgrade: %v", errEnding)
	}
	l.drop()
	return err
}

// await returns when the order ends ctx, or is refused.
func (o order) await(ctx context.Context) error {
	select {
	case err := <-o.refused:
		return spec.Refuse(spec.Unavailable, "", "", "upgrade: %v", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuse drops the order.
func (o order) refuse(err error) {
	o.letter.drop()
	o.refused <- err
}

// onSignal begins an upgrade that SIGUSR2 asks for.
func (u *upgrader) onSignal() {
	u.signals.Go(func() {
		if err := u.want(u.over, "", "SIGUSR2"); err != nil && u.over.Err() == nil {
			u.logger.Error("cannot upgrade", "err", err)
		}
	})
}

// end refuses every further wish.
func (u *upgrader) end() {
	u.close()
	u.signals.Wait()
}

// upgrade executes the binary of o in the place of this program. ctx is the one
// that a signal ends. It does not return unless neither that nor this very
// program could be executed: the server is at its end then, and its children
// live on.
//
// Until the handover is written nothing has been given up that the next server
// does not find on disk, so a crash at any point is one like any other.
func (s *server) upgrade(ctx context.Context, o order) error {
	h := &handover{
		Format: handoverFormat, From: version, Binary: o.binary, Ready: s.reconciler.Ready() == nil,
		StateDir: s.dirs.State, RunDir: s.dirs.Run,
	}
	s.handOver(h)
	s.reconciler.Stop()
	s.ground.close()
	s.host.Close()
	s.history.Close()
	h.History = s.history.Rest()
	h.Files = s.store.UnsavedFiles()
	locks, err := s.store.Detach()
	defer goruntime.KeepAlive(locks)
	logFailure(s.logger, "close the journal", err)
	for _, f := range locks {
		h.Locks = append(h.Locks, int(f.Fd()))
	}
	// What these ask for the next version does anyway. Those that end the
	// server are caught until the last moment.
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR2)
	h.Ending = ctx.Err() != nil
	// What the version after this one does not say must not be waited for.
	s.endReport()
	s.herald.Reloading()
	s.link.Upgrade(o.binary)
	err = s.become(o.binary, o.letter, h)
	s.link.NoUpgrade()

	h.Failure = explainExec(err).Error()
	h.Ending = h.Ending || ctx.Err() != nil
	s.logger.Error("cannot upgrade, the old version goes on", "binary", o.binary, "err", err)
	return fmt.Errorf("go on after an upgrade that failed: %w", s.become(procSelf, o.letter, h))
}

// handOver takes clients and addresses into h.
func (s *server) handOver(h *handover) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	var err error
	if h.Connections, err = s.control.HandOver(ctx); err != nil {
		s.logger.Warn("some clients got no answer", "err", err)
	}
	s.listeners.wait()
	if h.Listeners, err = s.listeners.handOver(); err != nil {
		s.logger.Error("cannot keep an address", "err", err)
	}
}

// become executes binary with h; it returns when that fails.
func (s *server) become(binary string, l letter, h *handover) error {
	if err := l.write(h); err != nil {
		return err
	}
	link, release, err := s.link.Inherit()
	if err != nil {
		return err
	}
	defer release()
	return l.execute(binary, slices.Concat(os.Environ(), s.manager.NotifyEnviron(), link), h)
}

// settleTime is how long a new version holds clients up until it is as ready as
// the one before it was; a prehook may take longer.
const settleTime = time.Second

// settle waits until the server is ready.
func (s *server) settle() {
	timeout := time.NewTimer(settleTime)
	defer timeout.Stop()
	select {
	case <-s.reconciler.CarriedOut():
	case <-timeout.C:
	}
}

// carryOn answers and serves those whom the version before this one left.
func (s *server) carryOn(h *handover) {
	if h == nil {
		return
	}
	if h.Ready {
		s.settle()
	}
	done := spec.Upgraded{From: h.From, To: version, Binary: h.Binary, PID: os.Getpid()}
	var failure *spec.Refusal
	if h.Failure != "" {
		failure = spec.Refuse(spec.BadBinary, "", "", "upgrade to %s: %s; version %s goes on", h.Binary, h.Failure, version)
		s.logger.Error("not upgraded", "binary", h.Binary, "err", h.Failure)
	} else {
		s.logger.Info("upgraded", "from", h.From, "to", version, "connections", len(h.Connections))
	}
	s.control.Resume(h.Connections, done, failure)
	if h.Ending {
		// The signal came to the version before this one.
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}
}

// errEnding is why a server that stops its children is not upgraded.
var errEnding = errors.New("the server is ending")

// upgradable is nil unless the server stops its children: a version that took
// over would not know that.
func (s *server) upgradable() error {
	if s.reconciler.Ending() {
		return errEnding
	}
	return nil
}
