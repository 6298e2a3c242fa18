package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"kita/control/fleet"
	"kita/control/keyring"
)

// keychain has the private keys of one command. Each is opened once, and its
// passphrase asked for once, however many hosts there are.
type keychain struct {
	passphrase keyring.Passphrase

	// mu guards opened. It is held while a key is opened: two questions at once
	// would leave nobody knowing which one he answers.
	mu     sync.Mutex
	opened map[string]openedKey
}

type openedKey struct {
	key *keyring.Private
	err error
}

func newKeychain(passphrase keyring.Passphrase) *keychain {
	return &keychain{passphrase: passphrase, opened: map[string]openedKey{}}
}

// open opens the key that is written so, a file or agent:NAME, unless that was
// done. A key of the agent is of use until ctx ends.
func (k *keychain) open(ctx context.Context, with string) (*keyring.Private, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.opened[with]
	if !ok {
		o.key, o.err = keyring.OpenPrivate(ctx, with, k.passphrase)
		k.opened[with] = o
	}
	return o.key, o.err
}

// get returns a key that withKeys has opened.
func (k *keychain) get(with string) (*keyring.Private, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.opened[with]
	if !ok {
		return nil, fmt.Errorf("with %s: the key has not been opened", with)
	}
	return o.key, o.err
}

// withKeys opens the keys of all hosts, and then runs fn. They are asked for
// before any host has a time limit. A key of the command line that cannot be
// used ends the command before anything is sent, and so does Ctrl-C in answer to
// a question; that of one host in hosts.yml is the error of that host alone.
func (p *program) withKeys(ctx context.Context, r request, fn func(context.Context) error) error {
	if ctx == nil {
		ctx = context.Background()
	}
	// The agent's connection ends with the command.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	warned := map[string]bool{}
	for _, h := range r.hosts {
		with := r.keyOf(h)
		if with == "" {
			continue
		}
		key, err := r.keys.open(ctx, with)
		switch {
		case err != nil && (with == r.key || errors.Is(err, errInterrupted)):
			p.tellFailure(r, err)
			return err
		case err == nil && key.Warning != "" && !warned[with]:
			warned[with] = true
			p.notice("warning: " + key.Warning)
		}
	}
	return fn(ctx)
}

// hostKeyChecking is what becomes of a server that is not known yet; empty where
// the command line does not say.
type hostKeyChecking string

const (
	strict    hostKeyChecking = "strict"
	acceptNew hostKeyChecking = "accept-new"
)

// keysOf reads the key and what belongs to it. That several are given, or an
// empty one, is never ignored: what would have been encrypted must not be sent
// in plain text instead.
func (p *program) keysOf(r *request, word string, f flags) error {
	with := f.with
	if word != "" {
		with = append([]string{word}, with...)
	}
	switch {
	case len(with) > 1:
		return usagef("`with` is given twice, once for %s and once for %s: one command uses one key", with[0], with[1])
	case len(with) == 1 && with[0] == "":
		return usagef("--with: no key is given")
	case len(with) == 1:
		r.key = with[0]
	}
	for _, flag := range []struct{ name, value string }{
		{passphraseFlag, f.passphraseFile}, {checkingFlag, f.hostKeyChecking}, {hostsFileFlag, f.hostsFile}, {socketFlag, f.socket},
	} {
		if f.isGiven(flag.name) && flag.value == "" {
			return usagef("--%s: it is given and empty, as a variable that is not set makes it", flag.name)
		}
	}
	checking := hostKeyChecking(f.hostKeyChecking)
	if checking != "" && checking != strict && checking != acceptNew {
		return usagef("--host-key-checking %s: give strict or accept-new", f.hostKeyChecking)
	}
	passphrases := newPassphrases(f.passphraseFile, p.screen)
	r.keys = newKeychain(passphrases.of)
	r.ssh = p.sshDialer(checking, passphrases.of)
	r.hostKeys = &keyring.KnownHosts{Strict: checking == strict, Notice: p.notice}
	if file, err := keyring.DefaultKnownHosts(); err == nil {
		r.hostKeys.Files = []string{file}
	}
	return nil
}

// checkKeyFlags refuses what is said of keys where none is used: who asks for a
// strict look at the server's key is not to be answered by one that showed none.
func (r request) checkKeyFlags(f flags) error {
	for _, h := range r.hosts {
		if h.SSH || r.keyOf(h) != "" && !f.legacy {
			return nil
		}
	}
	switch {
	case f.isGiven(checkingFlag) && f.legacy:
		return usagef("--legacy speaks the protocol of supervisor-rs, in which a server has no key: leave out --%s", checkingFlag)
	case f.isGiven(checkingFlag):
		return usagef("--%s: nobody is asked with a key, so no server shows its own: give `with KEY`", checkingFlag)
	case f.isGiven(passphraseFlag) && !slices.ContainsFunc(r.hosts, func(h fleet.Host) bool { return r.keyOf(h) != "" }):
		return usagef("--%s: no key is used: give `with KEY`", passphraseFlag)
	}
	return nil
}

// keyOf is the key for a host: that of the command line, else its own of
// hosts.yml; empty for none.
func (r request) keyOf(h fleet.Host) string {
	if r.key != "" {
		return r.key
	}
	return h.Key
}
