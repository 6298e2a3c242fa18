package reconciler

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"kita/reconciler/store"
	"kita/spec"
)

// Info is what `info` shows. It looks at server.yml first: an edit is in force
// from the next command on.
func (r *Reconciler) Info() spec.Info {
	r.refreshSettings()
	server := r.Settings.Server()
	info := spec.Info{
		ConfigFile: server.File,
		Version:    r.Version,
		PID:        os.Getpid(),
		StartedAt:  r.started,
		LoadPaths:  inFull(server.LoadPaths),
		Mode:       server.Mode,
		Encrypt:    r.encrypt,
		Listeners:  r.Listeners,
		Activated:  r.Activated,
		HostKey:    r.HostKey,
		Keeper:     r.Keeper, Containment: r.Containment,
		StateDir: r.StateDir,
		RunDir:   r.RunDir,
		Running:  []string{},
		Problems: r.problems(),
	}
	for _, v := range r.List() {
		if v.Status.Alive() {
			info.Running = append(info.Running, v.Name)
		}
	}
	return info
}

// Config is server.yml as it is in force. It looks at the file first, as Info
// does.
func (r *Reconciler) Config() *spec.Server {
	r.refreshSettings()
	return r.Settings.Server()
}

// problems are what an operator should know, one line each.
func (r *Reconciler) problems() []string {
	var lines []string
	if err := r.Settings.Problem(); err != nil {
		lines = append(lines, fmt.Sprintf("server.yml is illegal, the last good one stays in force: %v", err))
	}
	for _, p := range r.Catalogue.Problems() {
		lines = append(lines, p.Message)
	}
	lines = append(lines, r.hookProblems()...)
	lines = append(lines, r.exitWithProblem()...)
	if err := r.Store.Err(); err != nil {
		lines = append(lines, fmt.Sprintf("desired state cannot be saved: %v", err))
	}
	if err := r.Store.Damage(); err != nil {
		lines = append(lines, err.Error())
	}
	lines = append(lines, restoredProblem(r.Store.Restored())...)
	return append(lines, ListenerWarnings(r.encrypt, r.Settings.Server(), r.Listeners)...)
}

// restoredProblem is a line on what somebody removed under the server; no line where
// nobody did.
func restoredProblem(list []store.Restored) []string {
	if len(list) == 0 {
		return nil
	}
	var last time.Time
	texts := make([]string, len(list))
	for i, r := range list {
		texts[i] = r.String()
		if r.At.After(last) {
			last = r.At
		}
	}
	return []string{fmt.Sprintf("these were gone under the running server and were made again, last at %s, of what it knew; find out who removes them: %s",
		last.UTC().Format(time.RFC3339), strings.Join(texts, ", "))}
}

// ListenerWarnings has a line for each listener beyond loopback that anybody
// who reaches it may use, and for a port that nobody can use, or not as they may
// expect. encrypt is what the listeners were opened with.
func ListenerWarnings(encrypt bool, server *spec.Server, listeners []string) []string {
	var lines []string
	switch noKeys := len(server.PubKeysPath) == 0; {
	case encrypt && noKeys:
		lines = append(lines, "encrypt is on and pub_keys_path names no directory: nobody can use TCP, only the unix socket answers commands")
	case !encrypt && server.Access != nil && noKeys:
		lines = append(lines, "access is set and pub_keys_path names no directory: nobody can use TCP, only the unix socket answers commands")
	case !encrypt && server.Access != nil:
		lines = append(lines, "access is set and encrypt is off: over TCP only commands with KEY are carried out, plain ones are refused")
	}
	if server.Access != nil && len(server.Access) == 0 {
		lines = append(lines, "access is empty: no key may do anything, only the unix socket answers commands")
	}
	for _, l := range listeners {
		network, address, _ := strings.Cut(l, ":")
		at, err := netip.ParseAddrPort(address)
		switch {
		case err != nil || at.Addr().IsLoopback():
		case network == "metrics":
			lines = append(lines, fmt.Sprintf("%s is open: whoever reaches this address can read the metrics, which name every child", at))
		case network == "tcp" && !encrypt && server.Access == nil:
			lines = append(lines, fmt.Sprintf("%s is open: encrypt is off, so whoever reaches this address can start and stop children", at))
		}
	}
	return lines
}

// StartWarnings are ListenerWarnings and what is for the log alone, since it is
// no problem on a host that root has to itself: a listener on loopback, which each
// of its users may use.
func StartWarnings(uid int, encrypt bool, server *spec.Server, listeners []string) []string {
	lines := ListenerWarnings(encrypt, server, listeners)
	if uid != 0 || encrypt || server.Access != nil {
		return lines
	}
	for _, l := range listeners {
		address, ok := strings.CutPrefix(l, "tcp:")
		if at, err := netip.ParseAddrPort(address); ok && err == nil && at.Addr().IsLoopback() {
			lines = append(lines, fmt.Sprintf("%s is open to every user of this host: encrypt is off and the server is root's, "+
				"so each of them can stop children and read their output; write encrypt: \"on\" with pub_keys_path, root's own commands need no key", at))
		}
	}
	return lines
}

// ConfigErrors counts what is wrong with the configuration, for metrics.
func (r *Reconciler) ConfigErrors() int {
	n := len(r.Catalogue.Problems())
	if r.Settings.Problem() != nil {
		n++
	}
	return n
}

// Validate reads server.yml and every file of the load paths again, and checks
// their hooks.
func (r *Reconciler) Validate() (checked int, problems []string) {
	r.Refresh()
	if err := r.Settings.Problem(); err != nil {
		problems = append(problems, strings.Split(err.Error(), "\n")...)
	}
	for _, p := range r.Catalogue.Problems() {
		problems = append(problems, p.Message)
	}
	return len(r.Catalogue.Names()) + 1, append(problems, r.hookProblems()...)
}

// hookProblems has a line for each child whose hooks cannot be followed.
func (r *Reconciler) hookProblems() []string {
	var lines []string
	for _, e := range r.Catalogue.Entries() {
		if e.Err != nil || e.Child.Prehook == nil && e.Child.Posthook == nil {
			continue
		}
		if err := spec.CheckHooks(e.Name, r.Catalogue.Child); err != nil {
			lines = append(lines, fmt.Sprintf("%s: hooks: %v", e.Files[0], err))
		}
	}
	return lines
}
