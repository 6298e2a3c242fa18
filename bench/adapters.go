//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// adapter is how a system is used: its configuration for the children of a run,
// the command that is its supervisor, or starts one, the one that stops all
// children, and the one that shows them. finish is one that ends the supervisor
// where that must not be killed.
type adapter struct {
	prepare                     func(*peerRun) error
	start, stop, status, finish func(*peerRun) []string
}

// adapters by the name of the system. What each of them needs besides its
// configuration to run many children is in it.
var adapters = map[string]adapter{
	"kita": {
		prepare: func(p *peerRun) error {
			err := p.write("server.yml", fmt.Sprintf("loadpaths: [%s/children]\nmode: full\nlistener_addr: 127.191.7.2\nstate_dir: state\nrun_dir: run\n", p.dir), 0o600)
			return errors.Join(err, p.each("children/%s.yml", fmt.Sprintf(
				"command: [%s]\nrestart: {policy: always, backoff: {initial: 1ns, max: 1ns}}\n", strings.Join(p.child, ", ")), 0o600))
		},
		start:  func(p *peerRun) []string { return []string{p.binary, "serve", filepath.Join(p.dir, "server.yml")} },
		stop:   func(p *peerRun) []string { return []string{p.binary, "stop", "all"} },
		status: func(p *peerRun) []string { return []string{p.binary, "check"} },
		// Its control group would be left.
		finish: func(p *peerRun) []string { return []string{p.binary, "kill"} },
	},
	"supervisord": {
		prepare: func(p *peerRun) error {
			var b strings.Builder
			fmt.Fprintf(&b, "[supervisord]\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=%[1]s/pid\nminfds=20000\n"+
				"[unix_http_server]\nfile=%[1]s/sock\n[supervisorctl]\nserverurl=unix://%[1]s/sock\n"+
				"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n", p.dir)
			for _, name := range p.names {
				fmt.Fprintf(&b, "[program:%s]\ncommand=%s\nautorestart=true\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n", name, strings.Join(p.child, " "))
			}
			return p.write("conf", b.String(), 0o600)
		},
		start:  func(p *peerRun) []string { return []string{p.binary, "-n", "-c", filepath.Join(p.dir, "conf")} },
		stop:   func(p *peerRun) []string { return p.supervisorctl("stop", "all") },
		status: func(p *peerRun) []string { return p.supervisorctl("status") },
	},
	"runit": {
		prepare: func(p *peerRun) error { return p.each("service/%s/run", p.script(), 0o700) },
		start:   func(p *peerRun) []string { return []string{p.binary, "-P", filepath.Join(p.dir, "service")} },
		stop:    func(p *peerRun) []string { return append([]string{p.tool("sv"), "-w", "60", "down"}, p.services()...) },
		status:  func(p *peerRun) []string { return append([]string{p.tool("sv"), "status"}, p.services()...) },
	},
	"s6": {
		prepare: func(p *peerRun) error { return p.each("service/%s/run", p.script(), 0o700) },
		start: func(p *peerRun) []string {
			return []string{p.binary, "-c", "20000", filepath.Join(p.dir, "service")}
		},
		stop: func(p *peerRun) []string {
			return []string{p.tool("s6-svscanctl"), "-t", filepath.Join(p.dir, "service")}
		},
		// It has no command for more than one.
		status: func(p *peerRun) []string {
			return append([]string{"/bin/sh", "-c", `for d; do "$0" "$d"; done`, p.tool("s6-svstat")}, p.services()...)
		},
	},
	"process-compose": {
		prepare: func(p *peerRun) error {
			processes := map[string]any{}
			for _, name := range p.names {
				processes[name] = map[string]any{"command": "exec " + strings.Join(p.child, " "),
					"availability": map[string]any{"restart": "always", "backoff_seconds": 0}}
			}
			return p.writeJSON("conf.json", map[string]any{"version": "0.5", "processes": processes})
		},
		start:  func(p *peerRun) []string { return p.compose("up", "-t=false", "-f", filepath.Join(p.dir, "conf.json")) },
		stop:   func(p *peerRun) []string { return p.compose("down") },
		status: func(p *peerRun) []string { return p.compose("process", "list") },
	},
	"pm2": {
		prepare: func(p *peerRun) error {
			var apps []any
			for _, name := range p.names {
				apps = append(apps, map[string]any{"name": name, "script": p.child[0], "args": p.child[1:], "interpreter": "none",
					"out_file": "/dev/null", "error_file": "/dev/null", "restart_delay": 0})
			}
			return p.writeJSON("ecosystem.json", map[string]any{"apps": apps})
		},
		start:  func(p *peerRun) []string { return []string{p.binary, "start", filepath.Join(p.dir, "ecosystem.json")} },
		stop:   func(p *peerRun) []string { return []string{p.binary, "kill"} },
		status: func(p *peerRun) []string { return []string{p.binary, "list"} },
	},
}

// each writes the same file for every child; the pattern has its name.
func (p *peerRun) each(pattern, text string, mode os.FileMode) error {
	for _, name := range p.names {
		if err := p.write(fmt.Sprintf(pattern, name), text, mode); err != nil {
			return err
		}
	}
	return nil
}

func (p *peerRun) writeJSON(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return p.write(name, string(text), 0o600)
}

// script is the run file of systems that are given one.
func (p *peerRun) script() string { return "#!/bin/sh\nexec " + strings.Join(p.child, " ") + "\n" }

// services are the directories of all children.
func (p *peerRun) services() []string {
	var dirs []string
	for _, name := range p.names {
		dirs = append(dirs, filepath.Join(p.dir, "service", name))
	}
	return dirs
}

func (p *peerRun) supervisorctl(words ...string) []string {
	return append([]string{p.tool("supervisorctl"), "-c", filepath.Join(p.dir, "conf")}, words...)
}

func (p *peerRun) compose(words ...string) []string {
	return append(append([]string{p.binary}, words...), "-U", "-u", filepath.Join(p.dir, "sock"), "-L", filepath.Join(p.dir, "compose.log"))
}
