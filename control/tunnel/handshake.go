package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

// KeyRefused is the error of a server that does not admit the key.
type KeyRefused struct {
	Addr string
	// User is the login, Fingerprint that of the key.
	User, Fingerprint string
}

// Error is one line for people.
func (k *KeyRefused) Error() string {
	return fmt.Sprintf("%s refuses the key %s (%s): its public half must lie there as NAME.pem or NAME.pub in pub_keys_path", k.Addr, k.User, k.Fingerprint)
}

// NotSSH is the error of a server that answered, but not with SSH.
type NotSSH struct {
	Addr string
	// Said is the first line that came.
	Said string
}

// Error is one line for people. It does not advise to leave out the key: somebody
// in between would want just that.
func (n *NotSSH) Error() string {
	return fmt.Sprintf("%s does not speak SSH, it says %q: it is no kita server, or one that has no host key, as its log says; a server of supervisor-rs is asked with --legacy", n.Addr, n.Said)
}

// Failed is the error of a handshake that failed for neither of these reasons,
// nor for one of the network.
type Failed struct {
	Addr string
	Err  error
}

func (f *Failed) Error() string { return fmt.Sprintf("%s: %v", f.Addr, f.Err) }
func (f *Failed) Unwrap() error { return f.Err }

// handshaking notes what goes wrong on the way to a connection: the errors of
// package ssh do not tell.
type handshaking struct {
	addr   string
	config Config
	first  *firstWords
	key    *signer
	// offered: the key was offered, and the server answered. It belongs to the
	// goroutine of the handshake, as key does.
	offered bool

	// mu guards hostKey: why the server is not trusted. A handshake that is
	// broken off may still be asking.
	mu      sync.Mutex
	hostKey error
}

func newHandshaking(ctx context.Context, nc net.Conn, addr string, config Config) *handshaking {
	return &handshaking{
		addr: addr, config: config, first: &firstWords{Conn: nc},
		key: &signer{MultiAlgorithmSigner: config.Signer, givenUp: ctx.Done(), why: func() error { return context.Cause(ctx) }},
	}
}

// clientConfig has the algorithms of a kita server, which proves itself with
// an Ed25519 key.
func (h *handshaking) clientConfig() *ssh.ClientConfig {
	known := h.config.HostKeys.Callback()
	return &ssh.ClientConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305},
			// Of no use with these ciphers; the default would offer SHA-1.
			MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
		},
		User:              h.config.User,
		ClientVersion:     version,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			err := known(host, remote, key)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.hostKey = err
			return err
		},
		AuthCallback: func(tried *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			if slices.Contains(tried.TriedMethods, "publickey") {
				h.offered = true
				return nil, nil
			}
			return ssh.PublicKeys(h.key), nil
		},
	}
}

// explain is the error of Dial for one of package ssh.
func (h *handshaking) explain(err error) error {
	var distrust *keyring.HostKeyError
	said, isSSH := h.first.said()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case errors.As(h.hostKey, &distrust):
		return distrust
	case h.hostKey != nil:
		return &Failed{h.addr, h.hostKey}
	case h.key.failed != nil:
		return &Failed{h.addr, fmt.Errorf("sign with the key %s: %w", h.config.User, h.key.failed)}
	case !isSSH && said != "":
		return &NotSSH{h.addr, said}
	case isNetwork(err):
		return err
	case h.offered:
		return &KeyRefused{h.addr, h.config.User, ssh.FingerprintSHA256(h.config.Signer.PublicKey())}
	}
	return &Failed{h.addr, err}
}

// isNetwork tells whether the peer is gone, late, or never was there.
func isNetwork(err error) bool {
	var (
		network net.Error
		number  syscall.Errno
	)
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network) || errors.As(err, &number)
}

// firstWords keeps the beginning of what a server says, for the case that it is
// not SSH.
type firstWords struct {
	net.Conn
	mu   sync.Mutex
	text []byte // guarded by mu
}

// banner is what SSH begins with (RFC 4253, 4.2).
const banner = "SSH-"

// maxWords is enough of a line to see what it is.
const maxWords = 200

func (f *firstWords) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if room := maxWords - len(f.text); room > 0 && n > 0 {
		f.text = append(f.text, p[:min(n, room)]...)
	}
	return n, err
}

// said returns the first line. One that is cut off within its first letters may
// have been about to be SSH.
func (f *firstWords) said() (line string, isSSH bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, _, _ := bytes.Cut(f.text, []byte("\n"))
	n := min(len(f.text), len(banner))
	return strings.TrimSpace(string(first)), string(f.text[:n]) == banner[:n]
}

// signer keeps the error of signing. It does not wait for ever: an ssh-agent
// may be waiting for its user.
type signer struct {
	ssh.MultiAlgorithmSigner
	givenUp <-chan struct{}
	why     func() error
	failed  error
}

// SignWithAlgorithm leaves a key that it gives up to its owner: the call ends
// when the agent answers, or its connection is closed.
func (s *signer) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	type signed struct {
		signature *ssh.Signature
		err       error
	}
	done := make(chan signed, 1)
	go func() {
		signature, err := s.MultiAlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
		done <- signed{signature, err}
	}()
	select {
	case r := <-done:
		s.failed = r.err
		return r.signature, r.err
	case <-s.givenUp:
		s.failed = s.why()
		return nil, s.failed
	}
}
