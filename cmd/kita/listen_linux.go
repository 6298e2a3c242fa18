package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"

	"kita/control"
	"kita/keeper"
	"kita/spec"
)

// listeners are the addresses of a server, all bound before it starts anything.
type listeners struct {
	// metrics is nil without metrics_addr.
	unix, tcp, metrics net.Listener
	// listenAddress and metricsAddress are what server.yml had for the two.
	listenAddress, metricsAddress string
	// given are the keys of those that a service manager listens on.
	given map[string]bool
	// failed are addresses of server.yml that cannot be had, by their keys, where the
	// server goes on with the former ones.
	failed  map[string]failedAddress
	serving sync.WaitGroup
	// ended gets the error of the first that ended by itself.
	ended chan error
}

type failedAddress struct {
	address string
	err     error
}

// bindTCP makes those of TCP that are missing, and returns their keys. former are
// listeners that the server before this one had at other addresses, by their keys.
func (l *listeners) bindTCP(config *spec.Server, former map[string]inherited) (made []string, err error) {
	if l.tcp == nil {
		if made, err = l.bindAt(keyListen, config.Listen.String(), former, made); err != nil {
			return nil, err
		}
	}
	if l.metrics == nil && config.MetricsAddr != "" {
		made, err = l.bindAt(keyMetrics, config.MetricsAddr, former, made)
	}
	return made, err
}

// bindAt binds address for key. Where that cannot be done the former listener goes
// on: a server that follows one that crashed must not stay away from its children for
// an address that was mistyped meanwhile.
func (l *listeners) bindAt(key, address string, former map[string]inherited, made []string) ([]string, error) {
	before, follows := former[key]
	open := follows
	ln, err := listenAt(key, address)
	if open && errors.Is(err, syscall.EADDRINUSE) {
		// The former one itself may be in the way: 0.0.0.0 has every address.
		retire(before.FD)
		open = false
		ln, err = listenAt(key, address)
	}
	if err != nil && follows {
		if l.failed == nil {
			l.failed = map[string]failedAddress{}
		}
		l.failed[key] = failedAddress{address, err}
		if open {
			return made, l.take(before, "")
		}
		address = before.Address
		var again error
		if ln, again = listenAt(key, address); again == nil {
			err = nil
		}
	}
	if err != nil {
		return made, err
	}
	if open {
		retire(before.FD)
	}
	if key == keyMetrics {
		l.metrics, l.metricsAddress = ln, address
	} else {
		l.tcp, l.listenAddress = ln, address
	}
	return append(made, key), nil
}

// bindUnix makes the unix socket if it is missing.
func (l *listeners) bindUnix(runDir string) (made []string, err error) {
	if l.unix != nil {
		return nil, nil
	}
	if l.unix, err = control.ListenUnix(filepath.Join(runDir, socketName)); err != nil {
		return nil, err
	}
	return []string{keyUnix}, nil
}

// listenAt listens at an address of server.yml.
func listenAt(key, address string) (net.Listener, error) {
	if key == keyMetrics {
		ln, err := net.Listen("tcp", address)
		return ln, explainListen(key, address, err)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listenTCP(at)
}

// listenTCP: Go would take 0.0.0.0 for all addresses, those of IPv6 included.
func listenTCP(at netip.AddrPort) (net.Listener, error) {
	network := "tcp"
	if at.Addr().Is4() {
		network = "tcp4"
	}
	ln, err := net.Listen(network, at.String())
	return ln, explainListen("listen", at.String(), err)
}

func explainListen(what, address string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s: %w, another server or supervisor-rs may be running", what, address, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s: this host does not have that address", what, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: %s: permission denied, ports below 1024 need a privilege", what, address)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("%s: %s: %w", what, address, err)
}

// names are the addresses as Info shows them.
func (l *listeners) names() (names []string) {
	networks := map[string]string{keyUnix: "unix:", keyListen: "tcp:", keyMetrics: "metrics:"}
	for _, one := range l.all() {
		names = append(names, networks[one.key]+one.ln.Addr().String())
	}
	return names
}

// activated are the names of those that a service manager listens on.
func (l *listeners) activated() (names []string) {
	for i, one := range l.all() {
		if l.given[one.key] {
			names = append(names, l.names()[i])
		}
	}
	return names
}

// portOf is that of a listener of TCP, 0 for nil.
func portOf(ln net.Listener) int {
	if ln == nil {
		return 0
	}
	at, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return 0
	}
	return at.Port
}

// serve accepts connections until s is closed. The channel gets the error of
// the first listener that ended before.
func (l *listeners) serve(s *control.Server) <-chan error {
	l.ended = make(chan error, 3)
	l.begin(l.unix, s.ServeUnix)
	l.begin(l.tcp, s.ServeTCP)
	l.begin(l.metrics, s.ServeMetrics)
	return l.ended
}

// begin accepts connections of one listener, nil for none.
func (l *listeners) begin(ln net.Listener, accept func(context.Context, net.Listener) error) {
	if ln == nil {
		return
	}
	l.serving.Go(func() {
		err := accept(context.Background(), ln)
		if err == nil || errors.Is(err, http.ErrServerClosed) || control.IsLost(ln) {
			return
		}
		select {
		case l.ended <- fmt.Errorf("serve %s: %w", ln.Addr(), err):
		default: // the first counts
		}
	})
}

// renewUnix makes the unix socket again where its file is gone, and tells whether it
// was. Whoever is connected stays so.
func (l *listeners) renewUnix(s *control.Server, runDir string, link *keeper.Link) (made bool, err error) {
	if l.unix == nil || l.given[keyUnix] || !control.IsLost(l.unix) {
		return false, nil
	}
	ln, err := control.ListenUnix(filepath.Join(runDir, socketName))
	if err != nil {
		return false, err
	}
	lost := l.unix
	l.unix = ln
	l.begin(ln, s.ServeUnix)
	// In the keeper it takes the place of the other one.
	l.holdBy(link, []string{keyUnix})
	return true, lost.Close()
}

// wait returns when nothing is served any more.
func (l *listeners) wait() { l.serving.Wait() }

// close frees the addresses; those that were served are closed already.
func (l *listeners) close() {
	for _, one := range l.all() {
		_ = one.ln.Close()
	}
}
