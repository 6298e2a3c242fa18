package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"kita/control"
	"kita/keeper"
	"kita/reconciler/store"
	"kita/spec"
)

// formerDirs are the directories of the server whose place this one takes: of
// the version before it, or of one that crashed. They are empty if there was none.
func formerDirs(before *handover, link *keeper.Link) keeper.Dirs {
	if before != nil {
		return keeper.Dirs{State: before.StateDir, Run: before.RunDir}
	}
	return link.Before()
}

// chooseDirs are the directories of a server. Those of the one whose place it
// takes come before what server.yml says by now: its children are known nowhere
// else, and would all be started a second time.
func chooseDirs(config *spec.Server, former keeper.Dirs) (keeper.Dirs, error) {
	dirs := keeper.Dirs{State: cmp.Or(former.State, config.StateDir), Run: cmp.Or(former.Run, config.RunDir)}
	if dirs.State != "" && dirs.Run != "" {
		return dirs, nil
	}
	state, run, err := store.DefaultDirs()
	dirs.State, dirs.Run = cmp.Or(dirs.State, state), cmp.Or(dirs.Run, run)
	if dirs.State != "" && dirs.Run != "" {
		err = nil
	}
	return dirs, err
}

// setting is a key of server.yml that a server does not change while it runs.
type setting struct {
	// now is what server.yml says, used what is in use; empty: none.
	key, now, used string
	// remedy is how to change it.
	remedy string
}

// outdated has a line for each setting of which server.yml says something else
// by now.
func outdated(settings []setting) []string {
	var lines []string
	for _, s := range settings {
		if s.now != s.used {
			lines = append(lines, fmt.Sprintf("%s: server.yml says %s by now, %s stays in use: %s",
				s.key, cmp.Or(s.now, "none"), cmp.Or(s.used, "none"), s.remedy))
		}
	}
	return lines
}

// outdated are the lines of the server, for server.yml as it was last read.
func (s *server) outdated() []string {
	config := s.settings.Server()
	lines := outdated(append(s.listeners.inUse(config), dirsInUse(config, s.dirs)...))
	if line := s.listeners.elsewhere(s.dirs.Run); line != "" {
		lines = append(lines, line)
	}
	return lines
}

// elsewhere is a line where systemd's unix socket is not the one that the clients of
// this run directory ask; empty where it is.
func (l *listeners) elsewhere(runDir string) string {
	if !l.given[keyUnix] {
		return ""
	}
	given, asked := l.unix.Addr().String(), filepath.Join(runDir, socketName)
	there, err := os.Stat(given)
	if wanted, wantedErr := os.Stat(asked); given == asked || err == nil && wantedErr == nil && os.SameFile(there, wanted) {
		return ""
	}
	return fmt.Sprintf("systemd listens on %s, and not on %s, where the commands of this host look for a server: write ListenStream=%s, or call them with KITA_SOCKET=%s", given, asked, asked, given)
}

func (l *listeners) inUse(config *spec.Server) []setting {
	remedy := func(key, now string) string {
		if failed, ok := l.failed[key]; ok && failed.address == now {
			return failed.err.Error()
		}
		return "restart the server to change it"
	}
	var list []setting
	// What a service manager listens on is set in its unit.
	if !l.given[keyListen] {
		list = append(list, setting{keyListen, config.Listen.String(), l.listenAddress, remedy(keyListen, config.Listen.String())})
	}
	if !l.given[keyMetrics] {
		list = append(list, setting{keyMetrics, config.MetricsAddr, l.metricsAddress, remedy(keyMetrics, config.MetricsAddr)})
	}
	return list
}

func dirsInUse(config *spec.Server, used keeper.Dirs) []setting {
	const remedy = "to change it stop kita with its children (kita kill) before you start it again, as only these directories know them"
	// Without an answer there is nothing to compare; the server itself has begun
	// with one.
	now, err := chooseDirs(config, keeper.Dirs{})
	if err != nil {
		return nil
	}
	return []setting{{"state_dir", now.State, used.State, remedy}, {"run_dir", now.Run, used.Run, remedy}}
}

// service is the reconciler with what only the server knows.
type service struct {
	crashOnly
	s *server
}

var _ control.Service = service{}

// Info adds what server.yml has changed and the server has not, and what the
// history lacks.
func (s service) Info() spec.Info {
	info := s.crashOnly.Info()
	info.Problems = append(info.Problems, s.s.outdated()...)
	if problem := s.s.socketProblem(); problem != "" {
		info.Problems = append(info.Problems, problem)
	}
	if problem := s.s.historyProblem(); problem != "" {
		info.Problems = append(info.Problems, problem)
	}
	return info
}
