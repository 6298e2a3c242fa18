package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"kita/control"
	"kita/keeper"
	"kita/spec"
	"kita/systemd"
)

// The keys of handover.Listeners, and what the keeper and systemd call them.
const (
	keyUnix    = systemd.Unix
	keyListen  = systemd.Listen
	keyMetrics = systemd.Metrics
)

// listener is one of a server's.
type listener struct {
	key, address string
	ln           net.Listener
}

// all are those that there are.
func (l *listeners) all() (list []listener) {
	for _, one := range []listener{
		{keyUnix, "", l.unix}, {keyListen, l.listenAddress, l.tcp}, {keyMetrics, l.metricsAddress, l.metrics},
	} {
		if one.ln != nil {
			list = append(list, one)
		}
	}
	return list
}

// handOver returns descriptors of the listeners, for a version that takes over.
func (l *listeners) handOver() (list []inherited, err error) {
	for _, one := range l.all() {
		fd, fdErr := control.Descriptor(one.ln)
		if fdErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", one.key, fdErr))
			continue
		}
		list = append(list, inherited{one.key, one.address, fd, l.given[one.key]})
	}
	return list, err
}

// take puts a listener that was inherited in its place. It takes the descriptor.
func (l *listeners) take(one inherited, runDir string) error {
	path := ""
	if one.Key == keyUnix && !one.Given {
		path = filepath.Join(runDir, socketName)
	}
	ln, err := control.InheritListener(one.FD, path)
	if err != nil {
		return fmt.Errorf("%s: take over the address: %w", one.Key, err)
	}
	if one.Given {
		if l.given == nil {
			l.given = map[string]bool{}
		}
		l.given[one.Key] = true
	}
	switch one.Key {
	case keyUnix:
		l.unix = ln
	case keyListen:
		l.tcp, l.listenAddress = ln, one.Address
	case keyMetrics:
		l.metrics, l.metricsAddress = ln, one.Address
	default:
		_ = ln.Close() // a later version knows what it is for
	}
	return nil
}

// openListeners takes over the addresses of the version before this one. Where
// there was none it takes those of held that a service manager gave, or that
// server.yml still has; the rest is bound, and the keeper is given it.
func openListeners(before *handover, held []inherited, config *spec.Server, runDir string, link *keeper.Link) (*listeners, error) {
	l := &listeners{}
	made, err := l.open(before, held, config, runDir)
	if err != nil {
		l.close()
		return nil, err
	}
	l.holdBy(link, made)
	return l, nil
}

func (l *listeners) open(before *handover, held []inherited, config *spec.Server, runDir string) (made []string, err error) {
	if before != nil {
		for _, one := range before.Listeners {
			err = errors.Join(err, l.take(one, runDir))
		}
		for _, one := range held {
			_ = unix.Close(one.FD)
		}
		if err != nil {
			return nil, err
		}
		// An address that server.yml has got meanwhile is for the next start.
		as := *config
		as.MetricsAddr = ""
		if made, err = l.bindTCP(&as, nil); err != nil {
			return nil, err
		}
		socket, err := l.bindUnix(runDir)
		return append(made, socket...), err
	}
	former := map[string]inherited{}
	var sockets []inherited
	for _, one := range held {
		switch _, twice := former[one.Key]; {
		case !one.usable(config, runDir) && one.replaceable(config) && !twice:
			former[one.Key] = one
		case !one.usable(config, runDir):
			retire(one.FD)
		case one.Key == keyUnix:
			// Whoever closes it removes its file, so it is the last.
			sockets = append(sockets, one)
		default:
			if err := l.take(one, runDir); err != nil {
				return nil, err
			}
		}
	}
	made, err = l.bindTCP(config, former)
	for _, one := range sockets {
		if err == nil {
			err = l.take(one, runDir)
		}
	}
	if err != nil {
		return nil, err
	}
	socket, err := l.bindUnix(runDir)
	return append(made, socket...), err
}

// replaceable tells of a listener at an address that server.yml no longer has
// whether it works, for as long as it is not known that the new one does.
func (one inherited) replaceable(config *spec.Server) bool {
	switch {
	case one.Given || !systemd.Accepts(one.FD):
		return false
	case one.Key == keyMetrics:
		return config.MetricsAddr != ""
	}
	return one.Key == keyListen
}

// usable tells whether a listener that the keeper held is the one that server.yml
// asks for.
func (one inherited) usable(config *spec.Server, runDir string) bool {
	if one.Given {
		return true
	}
	if !systemd.Accepts(one.FD) {
		return false
	}
	switch one.Key {
	case keyUnix:
		// Somebody may have removed the directory.
		file, err := os.Lstat(filepath.Join(runDir, socketName))
		return err == nil && file.Mode().Type() == os.ModeSocket
	case keyListen:
		return one.Address == config.Listen.String()
	case keyMetrics:
		return one.Address == config.MetricsAddr
	}
	return false
}

// retire ends a listener, and takes the descriptor. Whoever has another one of it,
// as the keeper, has one that does not listen any more.
func retire(fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	_ = unix.Close(fd)
}

// holdBy gives the keeper those of the keys, for the next server.
func (l *listeners) holdBy(link *keeper.Link, keys []string) {
	for _, one := range l.all() {
		if !slices.Contains(keys, one.key) {
			continue
		}
		if fd, err := control.Descriptor(one.ln); err == nil {
			link.Hold(keeper.Held{Use: one.key, Address: one.address, FD: fd})
			_ = unix.Close(fd)
		}
	}
}

// holdAll gives a keeper that has just become another version what it lacks.
func (l *listeners) holdAll(link *keeper.Link) {
	link.Holds()
	var keys []string
	for _, one := range l.all() {
		if !l.given[one.key] {
			keys = append(keys, one.key)
		}
	}
	l.holdBy(link, keys)
}

// retire returns what ends them also where the keeper has them, once they are
// closed; those that a service manager listens on go on.
func (l *listeners) retire() func() {
	list, err := l.handOver()
	return func() {
		for _, one := range list {
			if one.Given {
				_ = unix.Close(one.FD)
			} else {
				retire(one.FD)
			}
		}
		_ = err // one without a descriptor ends with the keeper
	}
}

// heldBefore are the listeners that came with the start: from the keeper, or from a
// service manager where there is no keeper.
func heldBefore(link *keeper.Link, manager *systemd.Manager) (list []inherited) {
	for _, h := range link.Held() {
		list = append(list, inherited{h.Use, h.Address, h.FD, h.Given})
	}
	for _, s := range manager.Sockets() {
		list = append(list, inherited{s.Use, "", s.FD, true})
	}
	return list
}
