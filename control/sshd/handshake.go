package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Fault says what kept a client out.
type Fault int

const (
	// BadKey: none of its keys is admitted, or it offered none.
	BadKey Fault = iota
	// Stalled: it was not done in time.
	Stalled
	// Malformed: what it sent is not SSH as this server speaks it.
	Malformed
	// Ended: the server ended the connection, by Leave or Break.
	Ended
)

// Refused is the error of a client that did not get in.
type Refused struct {
	Fault Fault
	// Reason is one line for the server's own log. It holds what the client has
	// sent in quotes, and not much of it.
	Reason string
}

func (r *Refused) Error() string { return r.Reason }

// banner is what both sides begin with (RFC 4253, 4.2).
const banner = "SSH-2.0-kita"

// maxTries is how many keys a client may offer, as with OpenSSH's server.
const maxTries = 6

// algorithms are those that are agreed upon. There is no SHA-1 among them, no
// cipher without authentication, and none that hides how long a packet is, which
// gate has to know.
func algorithms() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256},
		Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM},
		// Of no use with these ciphers, but the list cannot be empty.
		MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
	}
}

// keyAlgorithms are those with which a client may sign.
func keyAlgorithms() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512,
	}
}

// guestKey is where the permissions of a connection have its Guest.
type guestKey struct{}

// errRefused is all that the client's side of the handshake knows of a key that
// is not admitted.
var errRefused = errors.New("the key is not admitted")

// handshake authenticates the client. Only the permissions of the connection
// that it returns say as whom: a client may have asked about other keys, which
// it does not own, on the way (CVE-2024-45337).
func (c *Conn) handshake() (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	late := time.AfterFunc(time.Until(c.opt.Begun.Add(c.opt.Handshake)), c.wire.expire)
	defer late.Stop()
	stop := context.AfterFunc(c.leaving, func() { _ = c.wire.Close() })
	defer stop()
	var tried attempts
	config := &ssh.ServerConfig{
		Config:                  algorithms(),
		PublicKeyAuthAlgorithms: keyAlgorithms(),
		MaxAuthTries:            maxTries,
		ServerVersion:           banner,
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			guest, err := c.opt.Admit(meta.User(), key)
			tried.add(meta.User(), key, err)
			if err != nil {
				return nil, errRefused
			}
			return &ssh.Permissions{ExtraData: map[any]any{guestKey{}: guest}}, nil
		},
	}
	config.AddHostKey(c.opt.HostKey)
	conn, channels, requests, err := ssh.NewServerConn(c.wire, config)
	if err != nil {
		return nil, nil, nil, c.refused(err, tried)
	}
	c.wire.authenticated()
	return conn, channels, requests, nil
}

// refused says why there is no connection.
func (c *Conn) refused(err error, tried attempts) *Refused {
	var keys *ssh.ServerAuthError
	switch {
	case c.leaving.Err() != nil:
		return &Refused{Ended, "the server ended the connection before the client was authenticated"}
	case c.wire.isLate.Load():
		return &Refused{Stalled, fmt.Sprintf("the client stalled: it was not authenticated within %v%s", c.opt.Handshake, tried.suffix())}
	case len(tried) > 0:
		return &Refused{BadKey, tried.String()}
	case errors.As(err, &keys):
		return &Refused{BadKey, "the client offered no key"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return &Refused{Malformed, "the client broke the handshake off"}
	}
	return &Refused{Malformed, fmt.Sprintf("the handshake failed: %.200q", err.Error())}
}

// attempts are the keys that a client has offered, each in words.
type attempts []string

func (a *attempts) add(login string, key ssh.PublicKey, err error) {
	if len(*a) >= maxTries {
		return
	}
	outcome := "it is admitted, but the client did not prove that it owns it"
	if err != nil {
		outcome = err.Error()
	}
	*a = append(*a, fmt.Sprintf("key %s %s for login %.64q: %.400s", key.Type(), ssh.FingerprintSHA256(key), login, outcome))
}

func (a attempts) String() string { return strings.Join(a, "; ") }

func (a attempts) suffix() string {
	if len(a) == 0 {
		return ""
	}
	return "; " + a.String()
}
