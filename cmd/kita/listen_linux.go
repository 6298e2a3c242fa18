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
	"kita/spec"
)

// listeners are the addresses of a server, all bound before it starts anything.
type listeners struct {
	// metrics is nil without metrics_addr.
	unix, tcp, metrics net.Listener
	// listenAddress and metricsAddress are what server.yml had for the two.
	listenAddress, metricsAddress string
	// given are the keys of those that a service manager listens on.
	given   map[string]bool
	serving sync.WaitGroup
}

// bind makes those that are missing, and returns their keys.
func (l *listeners) bind(config *spec.Server, runDir string) (made []string, err error) {
	if l.tcp == nil {
		if l.tcp, err = listenTCP(config.Listen); err != nil {
			return nil, err
		}
		l.listenAddress = config.Listen.String()
		made = append(made, keyListen)
	}
	if l.metrics == nil && config.MetricsAddr != "" {
		if l.metrics, err = net.Listen("tcp", config.MetricsAddr); err != nil {
			return nil, explainListen(keyMetrics, config.MetricsAddr, err)
		}
		l.metricsAddress = config.MetricsAddr
		made = append(made, keyMetrics)
	}
	if l.unix == nil {
		if l.unix, err = control.ListenUnix(filepath.Join(runDir, socketName)); err != nil {
			return nil, err
		}
		made = append(made, keyUnix)
	}
	return made, nil
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
		return fmt.Errorf("%s: %s: address already in use, another server or supervisor-rs may be running", what, address)
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

// serve accepts connections until s is closed. The channel gets the error of
// the first listener that ended before.
func (l *listeners) serve(s *control.Server) <-chan error {
	failed := make(chan error, 3)
	start := func(ln net.Listener, accept func(context.Context, net.Listener) error) {
		if ln == nil {
			return
		}
		l.serving.Go(func() {
			if err := accept(context.Background(), ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", ln.Addr(), err)
			}
		})
	}
	start(l.unix, s.ServeUnix)
	start(l.tcp, s.ServeTCP)
	start(l.metrics, s.ServeMetrics)
	return failed
}

// wait returns when nothing is served any more.
func (l *listeners) wait() { l.serving.Wait() }

// close frees the addresses; those that were served are closed already.
func (l *listeners) close() {
	for _, one := range l.all() {
		_ = one.ln.Close()
	}
}
