package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kita/control"
	"kita/control/fleet"
	"kita/control/keyring"
	"kita/control/sshhost"
	"kita/spec"
)

// sshDialer logs in to the hosts of one command. checking is what the command
// line says of hosts that are not known; empty leaves it to ~/.ssh/config.
func (p *program) sshDialer(checking hostKeyChecking, passphrase keyring.Passphrase) *sshhost.Dialer {
	return &sshhost.Dialer{Config: sshhost.Config{
		Strict: checking == strict, AcceptNew: checking == acceptNew,
		Notice: p.notice, Passphrase: passphrase, Suspend: fleet.Suspend,
	}}
}

// silentDialer asks and tells the user nothing, and learns no host.
func silentDialer() *sshhost.Dialer {
	return &sshhost.Dialer{Config: sshhost.Config{Strict: true}}
}

// sshTarget is a server that is asked through its host's own sshd.
func (p *program) sshTarget(ctx context.Context, r request, h fleet.Host) (control.Target, io.Closer, error) {
	target := sshhost.Target{Name: h.Name, User: h.User, Port: h.Port}
	if with := r.keyOf(h); with != "" {
		key, err := r.keys.get(with)
		if err != nil {
			return control.Target{}, nil, err
		}
		target.Key = key
	}
	host, err := r.ssh.Dial(ctx, target)
	if err != nil {
		return control.Target{}, nil, explainSSH(h, err)
	}
	// The way is found before anything is asked: that it takes too long is not
	// to be mistaken for a server that was asked and does not answer.
	if err := host.Reach(ctx); err != nil {
		err = explainSSH(h, askOld(ctx, r, host, err))
		_ = host.Close()
		return control.Target{}, nil, err
	}
	return control.Target{Through: host}, host, nil
}

// explainSSH tells a host or a server that cannot be reached from a host that
// does not let us in, and from a configuration that leads nowhere.
func explainSSH(h fleet.Host, err error) error {
	var (
		network  *sshhost.NetworkError
		noServer *sshhost.NoServerError
	)
	if errors.As(err, &network) || errors.As(err, &noServer) {
		return &control.Unreachable{Host: h.String(), Err: err}
	}
	return err
}

// oldAnswer is an answer of supervisor-rs, where only its program could be
// asked. It takes the place of an error because it is none of the answers that
// a command expects.
type oldAnswer struct {
	text   string
	status int
}

func (o *oldAnswer) Error() string { return "supervisor-rs answered: " + o.text }

// askOld asks a server of supervisor-rs by the program of its own host, where
// err says that there is no kita. Any other error is returned as it is.
func askOld(ctx context.Context, r request, host *sshhost.Host, err error) error {
	var only *sshhost.OnlyOldError
	if !errors.As(err, &only) {
		return err
	}
	switch {
	case r.verb == "":
		return fmt.Errorf("%w: it does not know this command", only)
	case r.format != formatText:
		return fmt.Errorf("%w: its answers are plain text, leave out -o %s", only, r.format)
	case r.rolling:
		return fmt.Errorf("%w: it does not say enough for --serial and --max-unavailable", only)
	case r.wait.given():
		return fmt.Errorf("%w: it does not know --wait", only)
	case r.ifChanged:
		return fmt.Errorf("%w: it does not know --if-changed", only)
	case r.noWait:
		return fmt.Errorf("%w: it does not know --no-wait", only)
	}
	if err := r.checkOldChild(); err != nil {
		return err
	}
	text, err := host.RunOld(ctx, only, r.oldWords()...)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return spec.Refuse(spec.TimedOut, r.verb, r.child, "%s %s: supervisor-rs gave no answer within %v", r.verb, r.child, r.timeout)
		}
		return err
	}
	return &oldAnswer{text: text, status: r.oldStatus(text)}
}
