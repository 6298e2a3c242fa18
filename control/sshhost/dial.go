package sshhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

// Time limits of logging in; those of one host, its jumps have their own.
const (
	connectTimeout   = 5 * time.Second
	handshakeTimeout = 10 * time.Second
)

// maxHops bounds a chain of ProxyJump.
const maxHops = 8

// Target names a host as the user did.
type Target struct {
	// Name is a host name, an address or an alias of ~/.ssh/config.
	Name string
	// User and Port are what ~/.ssh/config says where they are empty and 0.
	User string
	Port uint16
	// Key is the only key that the host is offered; nil means those of the
	// ssh-agent and the identity files. Hosts on the way are always asked with
	// the latter, as ssh does.
	Key *keyring.Private
}

// Config is what the user wants besides. The zero value asks nobody anything,
// and trusts hosts as ~/.ssh/config says.
type Config struct {
	// Strict and AcceptNew override StrictHostKeyChecking of ~/.ssh/config.
	Strict, AcceptNew bool
	// Notice gets lines for the user: a new host's fingerprint, a key that
	// others can read. Passphrase is asked for that of an identity file, when
	// the host would take its key; its error ends the log-in where it is a
	// context.Canceled, and is what Dial returns. Both may be nil.
	Notice     func(line string)
	Passphrase keyring.Passphrase
	// Suspend stops the time that ctx has, if it can be stopped, while somebody
	// is asked for a passphrase; resume lets it go on. It may be nil.
	Suspend func(ctx context.Context) (resume func())
	// Home is where .ssh is, SystemDir where ssh_config is, Getenv reads the
	// environment. Empty means those of this process and /etc/ssh.
	Home, SystemDir string
	Getenv          func(string) string
}

func (c Config) notice(line string) {
	if c.Notice != nil {
		c.Notice(line)
	}
}

func (c Config) suspend(ctx context.Context) (resume func()) {
	if c.Suspend == nil {
		return func() {}
	}
	return c.Suspend(ctx)
}

// Dialer logs in to hosts, with one Config and many at a time. The Config must
// not be changed after the first Dial.
type Dialer struct {
	Config

	// mu guards known. Hosts with the same files of known hosts share what was
	// read of them.
	mu    sync.Mutex
	known map[string]*keyring.KnownHosts

	// opening guards opened, the identity files that needed a passphrase, by
	// their names. It is held while one is opened: two questions at once would
	// leave nobody knowing which one he answers.
	opening sync.Mutex
	opened  map[string]openedIdentity
}

// Dial logs in to the host's sshd. The errors are *ConfigError, *AuthError,
// *keyring.HostKeyError, *NetworkError and that of a ctx that was cancelled; any
// other says which file cannot be used. ctx bounds the log-in, not the Host.
func (d *Dialer) Dial(ctx context.Context, t Target) (*Host, error) {
	env, err := d.environment()
	if err != nil {
		return nil, err
	}
	route, err := env.route(t, nil)
	if err != nil {
		return nil, err
	}
	h := newHost(route[len(route)-1])
	for _, hop := range route {
		if err := h.extend(ctx, d, hop); err != nil {
			_ = h.Close()
			if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
				return nil, context.Cause(ctx)
			}
			return nil, err
		}
	}
	h.watch()
	return h, nil
}

// knownHosts are those of the host.
func (d *Dialer) knownHosts(s settings) *keyring.KnownHosts {
	strict := d.Strict || s.strict && !d.AcceptNew
	key := fmt.Sprintf("%t %q", strict, s.knownHosts)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string]*keyring.KnownHosts{}
	}
	if d.known[key] == nil {
		d.known[key] = &keyring.KnownHosts{Files: s.knownHosts, Strict: strict, Notice: d.notice}
	}
	return d.known[key]
}

// route is the host and those before it, in the order in which they are dialled.
func (env environment) route(t Target, seen []string) ([]settings, error) {
	s, err := env.lookup(t)
	if err != nil {
		return nil, err
	}
	name := s.user + "@" + s.addr()
	if slices.Contains(seen, name) {
		return nil, fmt.Errorf("ProxyJump of ~/.ssh/config leads in a circle: %s", strings.Join(append(seen, name), ", "))
	}
	seen = append(seen, name)
	if len(seen) > maxHops {
		return nil, fmt.Errorf("ProxyJump of ~/.ssh/config leads through more than %d hosts", maxHops)
	}
	if len(s.jumps) == 0 {
		return []settings{s}, nil
	}
	// The first host of a list is reached as its own settings say, each further
	// one through that before it.
	route, err := env.route(s.jumps[0], seen)
	if err != nil {
		return nil, err
	}
	for _, jump := range s.jumps[1:] {
		hop, err := env.lookup(jump)
		if err != nil {
			return nil, err
		}
		route = append(route, hop)
	}
	if len(route) > maxHops {
		return nil, fmt.Errorf("ProxyJump of ~/.ssh/config leads through more than %d hosts", maxHops)
	}
	return append(route, s), nil
}

// extend logs in to the next host, through the last one where there is one.
func (h *Host) extend(ctx context.Context, d *Dialer, s settings) error {
	nc, err := h.connect(ctx, s)
	if err != nil {
		return err
	}
	client, err := d.login(ctx, nc, s)
	if err != nil {
		_ = nc.Close()
		return err
	}
	h.chain = append(h.chain, client)
	return nil
}

// connect opens the connection that SSH is spoken on.
func (h *Host) connect(ctx context.Context, s settings) (net.Conn, error) {
	timeout := connectTimeout
	if s.connectTimeout > 0 {
		timeout = s.connectTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if len(h.chain) == 0 {
		var dialer net.Dialer
		nc, err := dialer.DialContext(ctx, "tcp"+s.family, s.addr())
		if err != nil {
			return nil, networkErrorf("connect to sshd at %s: %v", s.addr(), reason(err))
		}
		return nc, nil
	}
	through := h.chain[len(h.chain)-1]
	ch, requests, err := h.channel(ctx, through, "direct-tcpip", directTCPIP{Host: s.host, Port: uint32(s.port), Origin: "127.0.0.1"})
	if err != nil {
		return nil, networkErrorf("connect to sshd at %s through %s: %v", s.addr(), through.RemoteAddr(), reason(err))
	}
	h.start(func() { ssh.DiscardRequests(requests) })
	return h.conn(ch)
}

// reason is the end of an error of the network, which names no address.
func reason(err error) error {
	var (
		op      *net.OpError
		refused *ssh.OpenChannelError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &refused):
		return fmt.Errorf("it says %q", refused.Message)
	case errors.As(err, &op) && op.Timeout():
		return errors.New("no answer in time")
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// login makes an SSH connection of nc, which it may leave open in an error.
func (d *Dialer) login(ctx context.Context, nc net.Conn, s settings) (*ssh.Client, error) {
	known := d.knownHosts(s)
	keys := d.gather(ctx, s)
	defer keys.close()
	patience := newPatience(nc, handshakeTimeout)
	auth := &authenticator{settings: s, keys: keys, patience: patience, suspend: func() func() { return d.suspend(ctx) }}
	begin := &greeted{Conn: nc}
	check := known.Callback()
	var distrust error
	trusted := false
	config := &ssh.ClientConfig{
		User:              s.user,
		AuthCallback:      auth.next,
		HostKeyAlgorithms: known.Algorithms(s.lookup),
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			if begin.isKita() {
				distrust = auth.noSSHD()
			} else if distrust = s.checkRevoked(s.lookup, key); distrust == nil {
				distrust = check(s.lookup, remote, key)
			}
			trusted = distrust == nil
			return distrust
		},
	}
	pinAlgorithms(config)
	stop := context.AfterFunc(ctx, func() {
		_ = nc.Close()
		keys.close()
	})
	conn, channels, requests, err := ssh.NewClientConn(begin, s.addr(), config)
	patience.pause()
	if inTime := stop(); err == nil && (!inTime || patience.over.Load()) {
		_ = conn.Close()
		err = net.ErrClosed
	}
	switch {
	case err == nil:
		return ssh.NewClient(conn, channels, requests), nil
	case distrust != nil:
		// Also that a file of known hosts cannot be used.
		return nil, distrust
	}
	return nil, explainLogin(ctx, err, auth, trusted)
}

// explainLogin says in a line why nobody was let in.
func explainLogin(ctx context.Context, err error, auth *authenticator, trusted bool) error {
	var (
		refused *AuthError
		network net.Error
	)
	addr := auth.settings.addr()
	switch {
	case auth.ended != nil:
		return auth.ended
	case errors.As(err, &refused):
		return refused
	case auth.patience.over.Load(), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return networkErrorf("sshd at %s did not answer in time", addr)
	case ctx.Err() != nil:
		return ctx.Err()
	case trusted && len(auth.offered) > 0 && !isEnd(err) && !errors.As(err, &network):
		// Most servers give up after six keys.
		return auth.failed(strings.TrimPrefix(err.Error(), "ssh: handshake failed: "))
	}
	return networkErrorf("log in to sshd at %s: %s", addr, strings.TrimPrefix(err.Error(), "ssh: handshake failed: "))
}

// pinAlgorithms leaves out what rests on SHA-1, and where no key of the host is
// known, certificates, which nothing could be checked against.
func pinAlgorithms(config *ssh.ClientConfig) {
	supported := ssh.SupportedAlgorithms()
	config.KeyExchanges = supported.KeyExchanges
	config.Ciphers = supported.Ciphers
	config.MACs = slices.DeleteFunc(supported.MACs, func(mac string) bool { return mac == ssh.HMACSHA1 })
	if len(config.HostKeyAlgorithms) == 0 {
		config.HostKeyAlgorithms = []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		}
	}
}
