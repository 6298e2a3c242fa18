package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"kita/control"
	"kita/spec"
)

// The keys of handover.Listeners.
const (
	keyUnix    = "unix"
	keyListen  = "listen"
	keyMetrics = "metrics_addr"
)

// handOver returns descriptors of the listeners, for a version that takes over.
func (l *listeners) handOver() (list []inherited, err error) {
	for _, one := range []struct {
		key, address string
		ln           net.Listener
	}{
		{keyUnix, "", l.unix}, {keyListen, l.listenAddress, l.tcp}, {keyMetrics, l.metricsAddress, l.metrics},
	} {
		if one.ln == nil {
			continue
		}
		fd, fdErr := control.Descriptor(one.ln)
		if fdErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", one.key, fdErr))
			continue
		}
		list = append(list, inherited{one.key, one.address, fd})
	}
	return list, err
}

// listeners takes over the addresses of h in place of binding those of config.
// One that h lacks is bound; so are all where there was no version before.
func (h *handover) listeners(config *spec.Server, runDir string) (*listeners, error) {
	if h == nil {
		return listen(config, runDir)
	}
	l := &listeners{}
	socket := filepath.Join(runDir, socketName)
	for _, one := range h.Listeners {
		path := ""
		if one.Key == keyUnix {
			path = socket
		}
		ln, err := control.InheritListener(one.FD, path)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("%s: take over the address: %w", one.Key, err)
		}
		switch one.Key {
		case keyUnix:
			l.unix = ln
		case keyListen:
			l.tcp, l.listenAddress = ln, one.Address
		case keyMetrics:
			l.metrics, l.metricsAddress = ln, one.Address
		}
	}
	var err error
	if l.tcp == nil {
		l.tcp, err = listenTCP(config.Listen)
		l.listenAddress = config.Listen.String()
	}
	if l.unix == nil && err == nil {
		l.unix, err = control.ListenUnix(socket)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}
