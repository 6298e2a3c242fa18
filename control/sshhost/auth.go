package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// kitaBanner is how kita's own SSH server begins.
const kitaBanner = "SSH-2.0-kita"

// greeted keeps how the far end begins, for who has to know before the keys are
// exchanged.
type greeted struct {
	net.Conn
	// first belongs to whoever reads, until kita's banner would fit in.
	first []byte
}

func (g *greeted) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if room := len(kitaBanner) - len(g.first); room > 0 && n > 0 {
		g.first = append(g.first, p[:min(n, room)]...)
	}
	return n, err
}

// isKita: it is no sshd, and its key is none of those of hosts.
func (g *greeted) isKita() bool { return string(g.first) == kitaBanner }

// authenticator offers the keys one after the other: so one that cannot sign
// does not cost the others their turn. It belongs to the goroutine of one
// handshake.
type authenticator struct {
	settings settings
	keys     *keys
	patience *patience
	// suspend stops the time of the caller until resume.
	suspend func() (resume func())
	offered []string
	// ended is the error of a question that its user broke off.
	ended error
}

// next is the AuthCallback of ssh.ClientConfig.
func (a *authenticator) next(state *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if !slices.Contains(state.AllowedMethods, "publickey") {
		wants := strings.Join(state.AllowedMethods, " or ")
		switch {
		case wants == "":
			return nil, a.refused("its sshd offers no way to log in: see PubkeyAuthentication and AuthenticationMethods in its sshd_config")
		case len(state.PartialSuccessMethods) > 0:
			return nil, a.refused("besides the key its sshd wants %s, which kita cannot give", wants)
		}
		return nil, a.refused("its sshd takes no keys, it wants %s", wants)
	}
	for a.ended == nil && len(a.keys.candidates) > 0 {
		c := a.keys.candidates[0]
		a.keys.candidates = a.keys.candidates[1:]
		if c.public == nil {
			// Only the passphrase shows which key it is.
			signer, err := a.open(c)
			if err != nil {
				continue
			}
			c.public, c.signer = signer.PublicKey(), func() (ssh.Signer, error) { return signer, nil }
		}
		a.offered = append(a.offered, c.describe())
		return ssh.PublicKeys(&offer{a: a, candidate: c}), nil
	}
	if a.ended != nil {
		return nil, a.ended
	}
	return nil, a.failed("")
}

// open gets a key ready, however long its owner takes for the passphrase.
func (a *authenticator) open(c candidate) (ssh.Signer, error) {
	a.patience.pause()
	defer a.patience.resume()
	defer a.suspend()()
	signer, err := c.signer()
	if errors.Is(err, context.Canceled) {
		a.ended = err
	}
	if err != nil {
		a.keys.note("%v", err)
	}
	return signer, err
}

func (a *authenticator) noSSHD() error {
	return a.refused("a kita server answers there and no sshd: ask it without ssh://, `on %s with KEY`", a.settings.addr())
}

func (a *authenticator) refused(format string, args ...any) error {
	return &AuthError{Host: a.settings.addr(), User: a.settings.user, Reason: fmt.Sprintf(format, args...)}
}

// maxTold is how many keys a message names.
const maxTold = 6

// failed says which keys were offered in vain; cause is what the server said
// to it.
func (a *authenticator) failed(cause string) error {
	reason := "it takes none of the keys that were offered: " + told(a.offered)
	if len(a.offered) == 0 {
		reason = "there is no key to offer, add one to the ssh-agent or give one with `with KEY`"
	}
	if cause != "" {
		reason = fmt.Sprintf("%s, after it was offered %s; name the right key with `with KEY`, or with IdentityFile and IdentitiesOnly in ~/.ssh/config", cause, told(a.offered))
	}
	if len(a.keys.notes) > 0 {
		reason += " (" + told(a.keys.notes) + ")"
	}
	return a.refused("%s", reason)
}

func told(list []string) string {
	if more := len(list) - maxTold; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:maxTold], ", "), more)
	}
	return strings.Join(list, ", ")
}

// offer is a key that is opened only when the server wants a signature of it.
type offer struct {
	a         *authenticator
	candidate candidate
}

func (o *offer) PublicKey() ssh.PublicKey { return o.candidate.public }

// Algorithms keeps SHA-1 out.
func (o *offer) Algorithms() []string {
	kind := o.candidate.public.Type()
	if certificate, err := ssh.ParsePublicKey(o.candidate.public.Marshal()); err == nil {
		if c, ok := certificate.(*ssh.Certificate); ok {
			kind = c.Key.Type()
		}
	}
	if kind == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{kind}
}

func (o *offer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return o.SignWithAlgorithm(rand, data, o.Algorithms()[0])
}

func (o *offer) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := o.a.open(o.candidate)
	if err != nil {
		return nil, err
	}
	o.a.patience.pause()
	defer o.a.patience.resume()
	var signature *ssh.Signature
	if able, ok := signer.(ssh.AlgorithmSigner); ok {
		signature, err = able.SignWithAlgorithm(rand, data, algorithm)
	} else {
		signature, err = signer.Sign(rand, data)
	}
	if err != nil {
		o.a.keys.note("%s does not sign: %v", o.candidate.name, err)
	}
	return signature, err
}

var _ ssh.MultiAlgorithmSigner = (*offer)(nil)

// patience closes a connection whose peer takes too long. It is suspended
// while the user is asked for something.
type patience struct {
	limit time.Duration
	timer *time.Timer
	// over: the time was over before the handshake was.
	over atomic.Bool
}

func newPatience(nc net.Conn, limit time.Duration) *patience {
	p := &patience{limit: limit}
	p.timer = time.AfterFunc(limit, func() {
		p.over.Store(true)
		_ = nc.Close()
	})
	return p
}

func (p *patience) pause()  { p.timer.Stop() }
func (p *patience) resume() { p.timer.Reset(p.limit) }
