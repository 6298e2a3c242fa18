package sshhost

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"kita/control/keyring"
)

const (
	// agentTimeout is how long an agent may take to list its keys, unless there
	// is less time; a signature may have to wait for its owner.
	agentTimeout = 5 * time.Second
	minRSABits   = 2048
	maxPublicKey = 64 << 10
)

// candidate is a key to be offered.
type candidate struct {
	// name is what messages call it.
	name string
	// public is nil where only the passphrase would show it.
	public ssh.PublicKey
	// signer returns the key itself, for which it may have to ask for a
	// passphrase.
	signer func() (ssh.Signer, error)
}

// describe names the key with its fingerprint.
func (c candidate) describe() string {
	if c.public == nil {
		return c.name
	}
	return c.name + " " + ssh.FingerprintSHA256(c.public)
}

// keys are those for one host, in the order in which they are offered.
type keys struct {
	candidates []candidate
	// notes say which keys could not be had, and why.
	notes []string
	// agent is the connection to it, nil for none.
	agent io.Closer
}

func (k *keys) note(format string, args ...any) {
	k.notes = append(k.notes, fmt.Sprintf(format, args...))
}

func (k *keys) close() {
	if k.agent != nil {
		_ = k.agent.Close()
	}
}

// gather collects the keys in the order of ssh: those of the agent, first the
// ones that the configuration names, because a server hears only a few; then
// the files; last those that need a passphrase, which is asked for when the
// server wants that key. An explicit key is the only one.
func (d *Dialer) gather(ctx context.Context, s settings) *keys {
	k := &keys{}
	if s.key != nil {
		k.candidates = []candidate{{
			name: s.key.Name, public: s.key.PublicKey(),
			signer: func() (ssh.Signer, error) { return s.key.Signer, nil },
		}}
		return k
	}
	var plain, encrypted []candidate
	var wanted []ssh.PublicKey
	for _, file := range s.identities {
		found, locked := d.identity(ctx, k, file, s.named)
		if found == nil {
			continue
		}
		if found.public != nil {
			wanted = append(wanted, found.public)
		}
		switch {
		case found.signer == nil: // only the agent can have it
		case locked:
			encrypted = append(encrypted, *found)
		default:
			plain = append(plain, *found)
		}
	}
	held := k.fromAgent(ctx, s.agent)
	slices.SortStableFunc(held, func(a, b candidate) int { return rank(wanted, a) - rank(wanted, b) })
	if s.identitiesOnly {
		held = slices.DeleteFunc(held, func(h candidate) bool { return rank(wanted, h) == len(wanted) })
	}
	inAgent := func(f candidate) bool {
		return f.public != nil && slices.ContainsFunc(held, func(h candidate) bool { return same(h.public, f.public) })
	}
	k.candidates = slices.Concat(held, slices.DeleteFunc(plain, inAgent), slices.DeleteFunc(encrypted, inAgent))
	return k
}

// rank is the place of the key among those that are wanted, their number where
// it is none of them.
func rank(wanted []ssh.PublicKey, c candidate) int {
	if i := slices.IndexFunc(wanted, func(w ssh.PublicKey) bool { return same(w, c.public) }); i >= 0 {
		return i
	}
	return len(wanted)
}

func same(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// identity looks at a file of a private key. locked tells that it needs a
// passphrase. Without a private key beside it, the public one has no signer.
func (d *Dialer) identity(ctx context.Context, k *keys, file string, named bool) (found *candidate, locked bool) {
	public := publicOf(file)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if public == nil {
			if named {
				k.note("%s is not there", file)
			}
			return nil, false
		}
		return &candidate{name: file, public: public}, false
	}
	private, err := keyring.OpenPrivate(ctx, file, func(string) ([]byte, error) {
		locked = true
		return nil, errors.New("it needs a passphrase")
	})
	switch {
	case locked:
		return &candidate{name: file, public: public, signer: func() (ssh.Signer, error) { return d.unlock(ctx, file) }}, true
	case err != nil:
		// IdentityFile may name the public half of a key of the agent.
		if _, _, _, _, notPublic := ssh.ParseAuthorizedKey(readSmall(file)); notPublic != nil {
			k.note("%v", err)
		}
		if public == nil {
			return nil, false
		}
		return &candidate{name: file, public: public}, false
	}
	return &candidate{name: file, public: private.PublicKey(), signer: func() (ssh.Signer, error) {
		if private.Warning != "" {
			d.notice(private.Warning)
		}
		return private.Signer, nil
	}}, false
}

// openedIdentity is what became of a file with a passphrase.
type openedIdentity struct {
	signer ssh.Signer
	err    error
}

// unlock opens an identity file with its passphrase, once for all hosts.
func (d *Dialer) unlock(ctx context.Context, file string) (ssh.Signer, error) {
	if d.Passphrase == nil {
		return nil, fmt.Errorf("the key %s needs a passphrase, and there is no way to ask for it", file)
	}
	d.opening.Lock()
	defer d.opening.Unlock()
	if o, ok := d.opened[file]; ok {
		return o.signer, o.err
	}
	private, err := keyring.OpenPrivate(ctx, file, d.Passphrase)
	o := openedIdentity{err: err}
	if err == nil {
		o.signer = private.Signer
		if private.Warning != "" {
			d.notice(private.Warning)
		}
	}
	if d.opened == nil {
		d.opened = map[string]openedIdentity{}
	}
	d.opened[file] = o
	return o.signer, o.err
}

// publicOf finds the public half of a private key without its passphrase: in
// the file itself or in FILE.pub; nil where neither has it.
func publicOf(file string) ssh.PublicKey {
	if text := readSmall(file); text != nil {
		var missing *ssh.PassphraseMissingError
		if _, err := ssh.ParseRawPrivateKey(text); errors.As(err, &missing) && missing.PublicKey != nil {
			return missing.PublicKey
		}
		if public, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
			return public
		}
	}
	if public, _, _, _, err := ssh.ParseAuthorizedKey(readSmall(file + ".pub")); err == nil {
		return public
	}
	return nil
}

// readSmall reads a regular file of bounded size, nil where it is none.
func readSmall(file string) []byte {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxPublicKey {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return text
}

// fromAgent lists the keys of the agent at socket. An agent that is not there,
// or does not answer, costs its keys and half the time of ctx at most: the other
// keys need some, too.
func (k *keys) fromAgent(ctx context.Context, socket string) []candidate {
	if socket == "" {
		return nil
	}
	deadline := time.Now().Add(agentTimeout)
	if end, limited := ctx.Deadline(); limited && time.Until(end)/2 < agentTimeout {
		deadline = time.Now().Add(time.Until(end) / 2)
	}
	dialer := net.Dialer{Deadline: deadline}
	nc, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		k.note("no ssh-agent answers on %s", socket)
		return nil
	}
	k.agent = nc
	_ = nc.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	signers, err := agent.NewClient(nc).Signers()
	stop()
	if err != nil {
		reason := err.Error()
		if !time.Now().Before(deadline) {
			// The library's error does not wrap that of the connection.
			reason = "no answer in time"
		}
		k.note("the ssh-agent on %s does not list its keys: %s", socket, reason)
		return nil
	}
	// A signature may have to wait for its owner's touch.
	_ = nc.SetDeadline(time.Time{})
	var held []candidate
	for _, signer := range signers {
		name := "the agent's key"
		if key, ok := signer.PublicKey().(*agent.Key); ok && key.Comment != "" {
			name += " " + fmt.Sprintf("%q", key.Comment)
		}
		modern, err := withoutSHA1(signer)
		if err != nil {
			k.note("%s: %v", name, err)
			continue
		}
		held = append(held, candidate{name: name, public: signer.PublicKey(), signer: func() (ssh.Signer, error) { return modern, nil }})
	}
	return held
}

// withoutSHA1 refuses weak keys, and has RSA keys sign with SHA-2 only.
func withoutSHA1(signer ssh.Signer) (ssh.Signer, error) {
	public, err := ssh.ParsePublicKey(signer.PublicKey().Marshal())
	if err != nil {
		return nil, fmt.Errorf("it is of a kind that kita does not know (%s)", signer.PublicKey().Type())
	}
	if certificate, ok := public.(*ssh.Certificate); ok {
		public = certificate.Key
	}
	switch public.Type() {
	case "ssh-dss":
		return nil, errors.New("DSA keys are not used")
	case ssh.KeyAlgoRSA:
	default:
		return signer, nil
	}
	if holder, ok := public.(ssh.CryptoPublicKey); ok {
		if key, ok := holder.CryptoPublicKey().(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("RSA keys of less than %d bits are not used", minRSABits)
		}
	}
	able, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("it can only sign with SHA-1")
	}
	return ssh.NewSignerWithAlgorithms(able, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
}
