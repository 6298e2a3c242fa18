package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"kita/spec"
)

// warner notes what is legal in a server's file and seldom meant.
type warner struct {
	v     *validation
	file  string
	lines map[string]int
}

func (w warner) warn(key, format string, args ...any) {
	w.v.findings = append(w.v.findings, finding{w.file, max(w.lines[key], 1), key, fmt.Sprintf(format, args...), warning})
}

// server looks at the file by itself.
func (w warner) server(s *spec.Server) {
	given := func(key string) bool { return w.lines[key] > 0 }
	noKeys := len(s.PubKeysPath) == 0
	if len(s.LoadPaths) == 0 {
		w.warn("loadpaths", "is missing, so there is no child: write loadpaths: [/srv/children]")
	}
	switch {
	case s.Encrypt && noKeys:
		w.warn("encrypt", "is on and there is no pub_keys_path: nobody can use the port, write pub_keys_path: [/etc/kita/keys]")
	case s.Encrypt:
	case s.Access != nil && noKeys:
		w.warn("access", "is set and there is no pub_keys_path: nobody can use the port, write pub_keys_path: [/etc/kita/keys]")
	case s.Access == nil && !s.Listen.Addr().IsLoopback():
		key := "listener_addr"
		if !given(key) && given("ipv6") {
			key = "ipv6"
		}
		w.warn(key, "%s is open: whoever reaches it can start and stop children without a key, write encrypt: \"on\" with pub_keys_path, or listener_addr: 127.0.0.1 for every user of the host alone", s.Listen)
	case s.Access == nil && w.v.uid == 0:
		w.warn("listener_addr", "%s is open to every user of the host: encrypt is off, so where root runs the server each of them can stop children and read their output, "+
			"write encrypt: \"on\" with pub_keys_path, root's own commands need no key", s.Listen)
	}
	if s.Access != nil && len(s.Access) == 0 {
		w.warn("access", "is empty: no key may do anything, write a rule or leave the key out")
	}
	at, err := netip.ParseAddrPort(s.MetricsAddr)
	if strings.HasPrefix(s.MetricsAddr, ":") || err == nil && !at.Addr().IsLoopback() {
		w.warn("metrics_addr", "%s is open: whoever reaches it can read the metrics, which name every child", s.MetricsAddr)
	}
	if given("startup") && s.Mode != spec.Half {
		w.warn("startup", "is read in mode half alone, and mode is %s", s.Mode)
	}
	if given("ipv6") && given("listener_addr") {
		w.warn("ipv6", "means nothing beside listener_addr, leave it out")
	}
	if s.AuditLog != "" {
		w.missingDir("audit_log", filepath.Dir(s.AuditLog))
	}
	for _, dir := range s.PubKeysPath {
		w.missingDir("pub_keys_path", dir)
		if othersWrite(dir) {
			w.warn("pub_keys_path", "%s can be written by others, so no key in it is used: chmod o-w", dir)
		}
	}
	w.named("startup", s.Startup)
	if s.ExitWith != "" {
		w.named("exit_with", []string{s.ExitWith})
	}
}

// missingDir warns of a directory that is wanted and not there.
func (w warner) missingDir(key, dir string) {
	if info, err := os.Stat(dir); os.IsNotExist(err) || err == nil && !info.IsDir() {
		w.warn(key, "%s is no directory that is there", dir)
	}
}

// named warns of children that a key names and that have no file.
func (w warner) named(key string, names []string) {
	for _, name := range names {
		if !w.v.unlisted && w.v.catalogue.Lookup(name).Missing {
			w.warn(key, "no file %s.yml or %s.yaml in the load paths", name, name)
		}
	}
}

// children looks at what the children make of the server's file, all together.
func (w warner) children(s *spec.Server) {
	var silent []string
	var children []*spec.Child
	ports := map[int]string{}
	for _, entry := range w.v.catalogue.Entries() {
		c := entry.Child
		if c == nil || entry.Err != nil {
			continue
		}
		children = append(children, c)
		if c.Stdout == nil && c.Stderr == nil {
			silent = append(silent, c.Name)
		}
		if c.Metrics == nil {
			continue
		}
		if other, taken := ports[c.Metrics.Port]; taken {
			cw := warner{w.v, c.File, linesOf(c.File)}
			cw.warn("metrics.port", "%d is also that of %s", c.Metrics.Port, other)
		}
		ports[c.Metrics.Port] = c.Name
	}
	w.budget(s, children)
	if len(silent) > 0 && w.lines["output_dir"] == 0 {
		w.warn("output_dir", "is missing, so the output of %s goes where the server's own output goes and is in no `kita logs`: write output_dir: /var/log/kita", someOf(silent))
	}
}

// budget warns of files that may each be larger than all files together, whose
// archives would be removed as soon as they are made.
func (w warner) budget(s *spec.Server, children []*spec.Child) {
	var large []string
	least := uint64(0)
	for _, c := range children {
		for _, stream := range []*spec.Stream{c.Stdout, c.Stderr} {
			if stream == nil || stream.Rotate == nil || stream.Rotate.Size <= s.DiskBudget {
				continue
			}
			least = max(least, stream.Rotate.Size)
			large = append(large, c.Name)
			break
		}
	}
	if s.DiskBudget > 0 && len(large) > 0 {
		w.warn("disk_budget", "%s are less than the rotate.size of %s, %s: one file takes all of it, write a larger budget or a smaller size",
			sizeText(s.DiskBudget), someOf(large), sizeText(least))
	}
}

func linesOf(file string) map[string]int {
	data, err := spec.ReadFile(file)
	if err != nil {
		return nil
	}
	return spec.KeyLines(data)
}

// someOf names the first of many.
func someOf(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
