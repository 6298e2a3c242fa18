package spec

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// serverDraft is server.yml while it is read.
type serverDraft struct {
	Server
	addr netip.Addr
	port int
	ipv6 bool
	// outputDir is output_dir outside of defaults.
	outputDir string
}

// leastBudget is far below what is of use; who writes less has forgotten the unit.
const leastBudget = 1 << 20

// serverRules is the one list of the keys of server.yml.
func serverRules() []rule[serverDraft] {
	return []rule[serverDraft]{
		{Key{Name: "loadpaths", Forms: []Form{List}, Example: "loadpaths: [/srv/children]",
			Doc: "directories of child files"},
			func(v value, s *serverDraft) { s.LoadPaths = v.texts(value.filledText) }},
		{Key{Name: "mode", Forms: []Form{Scalar}, Example: "mode: full", Values: []string{string(Quiet), string(Half), string(Full)},
			Doc: "which children start with the server: none (quiet, the default), those of startup (half), all (full)"},
			func(v value, s *serverDraft) {
				if m, ok := v.choice(); ok {
					s.Mode = Mode(m)
				}
			}},
		{Key{Name: "startup", Forms: []Form{List}, Example: "startup: [db, web]",
			Doc: "the children that start in half mode, in this order"},
			func(v value, s *serverDraft) { s.Startup = v.texts(value.filledText) }},
		{Key{Name: "encrypt", Forms: []Form{Scalar}, Example: "encrypt: on", Values: []string{"on", "off"},
			Doc: "on: nothing but SSH is served over TCP; default off"},
			func(v value, s *serverDraft) {
				if c, ok := v.choice(); ok {
					s.Encrypt = c == "on"
				}
			}},
		{Key{Name: "pub_keys_path", Forms: []Form{List}, Example: "pub_keys_path: [/srv/keys]",
			Doc: "directories of public keys, NAME.pem or NAME.pub"},
			func(v value, s *serverDraft) { s.PubKeysPath = v.texts(value.filledText) }},
		{Key{Name: "legacy_keys_path", Forms: []Form{List}, Example: "legacy_keys_path: [/srv/old-keys]",
			Doc: "directories of the keys whose replayable packets, those of supervisor-rs, are accepted; default: none"},
			func(v value, s *serverDraft) { s.LegacyKeysPath = v.texts(value.filledText) }},
		{Key{Name: "access", Forms: []Form{List}, Example: "access: [" + accessExample + "]", Keys: keysOf(accessRules()),
			Doc: "what each key may do; without it every key may do everything"}, readAccess},
		{Key{Name: "audit_log", Forms: []Form{Scalar}, Example: "audit_log: /var/log/kita-audit.log",
			Doc: "a file with a line of JSON for each command; a relative path is relative to this file"},
			func(v value, s *serverDraft) { readText(v, &s.AuditLog) }},
		{Key{Name: "listener_addr", Forms: []Form{Scalar}, Example: "listener_addr: 127.0.0.1",
			Doc: "the IP address to serve, default 0.0.0.0"}, readListenerAddr},
		{Key{Name: "ipv6", Forms: []Form{Scalar}, Example: "ipv6: true", Values: []string{"true", "false"},
			Doc: "without listener_addr: serve :: instead of 0.0.0.0"},
			func(v value, s *serverDraft) {
				if c, ok := v.choice(); ok {
					s.ipv6 = c == "true"
				}
			}},
		{Key{Name: "port", Forms: []Form{Scalar}, Example: "port: 33889", Min: 1, Max: 65535, Doc: "the TCP port, default 33889"},
			func(v value, s *serverDraft) {
				if n, ok := v.integer(); ok {
					s.port = n
				}
			}},
		{Key{Name: "metrics_addr", Forms: []Form{Scalar}, Example: "metrics_addr: 127.0.0.1:9100",
			Doc: "a host:port that serves only /metrics; default: none"}, readMetricsAddr},
		{Key{Name: "state_dir", Forms: []Form{Scalar}, Example: "state_dir: /var/lib/kita",
			Doc: "where what is wanted is kept; a relative path is relative to this file"},
			func(v value, s *serverDraft) { readText(v, &s.StateDir) }},
		{Key{Name: "run_dir", Forms: []Form{Scalar}, Example: "run_dir: /run/kita",
			Doc: "where the socket and the facts of this boot are; a relative path is relative to this file"},
			func(v value, s *serverDraft) { readText(v, &s.RunDir) }},
		{Key{Name: "output_dir", Forms: []Form{Scalar}, Example: "output_dir: /var/log/kita",
			Doc: "where a child without output writes to, in NAME.log; a relative path is relative to this file"},
			func(v value, s *serverDraft) { readText(v, &s.outputDir) }},
		{Key{Name: "disk_budget", Forms: []Form{Scalar}, Example: "disk_budget: 10GB",
			Doc: "the most bytes that the files under rotation and their archives may take, all together, at least 1MiB; default: any amount"},
			func(v value, s *serverDraft) {
				if n, ok := readSize(v, leastBudget); ok {
					s.DiskBudget = n
				}
			}},
		{Key{Name: "on_exit", Forms: []Form{Scalar}, Example: "on_exit: stop", Values: []string{string(Leave), string(StopChildren)},
			Doc: "what TERM and INT do with the children: leave (default) or stop; as PID 1 the default is stop"},
			func(v value, s *serverDraft) {
				if c, ok := v.choice(); ok {
					s.OnExit = OnExit(c)
				}
			}},
		{Key{Name: "exit_with", Forms: []Form{Scalar}, Example: "exit_with: web",
			Doc: "when this child has ended for good the others are stopped, and the server ends with its status"}, readExitWith},
		{Key{Name: "defaults", Forms: []Form{Mapping}, Example: "defaults: {stop: {grace: 30s}}", Keys: DefaultsKeys(),
			Doc: "for each child whose file does not have the key; env, limits, stop, restart and rotate merge by name"},
			func(v value, s *serverDraft) { s.Defaults = readDefaults(v) }},
	}
}

// DefaultServer is what holds without a server.yml.
func DefaultServer() *Server {
	s, err := serverDraft{}.finish()
	if err != nil {
		panic(fmt.Sprintf("spec: default server: %v", err)) // no path of a file to resolve
	}
	return s
}

// LoadServer reads server.yml. The error is FileErrors where the file was read
// but is wrong; it is fs.ErrNotExist where there is none.
func LoadServer(path string) (*Server, error) {
	data, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseServer(path, data)
}

// ParseServer is LoadServer for the content of a file. The error is
// FileErrors, with everything that is wrong.
func ParseServer(path string, data []byte) (*Server, error) {
	doc := &document{file: path}
	s := serverDraft{Server: Server{File: path}}
	if root := doc.parse(data); root != nil {
		v := doc.value(root, "", &Key{Name: "KEY", Forms: []Form{Mapping}, Example: "loadpaths: [/srv/children]"})
		if v.rootAdmitted() {
			readMapping(v, serverRules(), &s)
		}
	}
	if err := doc.err(); err != nil {
		return nil, err
	}
	return s.finish()
}

func readListenerAddr(v value, s *serverDraft) {
	text, ok := v.filledText()
	if !ok {
		return
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		v.failf("%s is no IP address, write 127.0.0.1 or ::1; the port is a key of its own", quoted(text))
		return
	}
	s.addr = addr
}

func readMetricsAddr(v value, s *serverDraft) {
	text, ok := v.filledText()
	if !ok {
		return
	}
	host, port, err := net.SplitHostPort(text)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || n == 0 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
		v.failf("%s is no host:port, write %s", quoted(text), v.rule.Example)
		return
	}
	s.MetricsAddr = text
}

func readExitWith(v value, s *serverDraft) {
	name, ok := v.filledText()
	if !ok {
		return
	}
	if err := ValidName(name); err != nil {
		v.failf("%v, write %s", err, v.rule.Example)
		return
	}
	s.ExitWith = name
}

// finish makes the server of what was read.
func (d serverDraft) finish() (*Server, error) {
	s := d.Server
	if s.LoadPaths == nil {
		s.LoadPaths = []string{}
	}
	if s.Mode == "" {
		s.Mode = Quiet
	}
	addr := d.addr
	switch {
	case addr.IsValid():
	case d.ipv6:
		addr = netip.IPv6Unspecified()
	default:
		addr = netip.IPv4Unspecified()
	}
	port := d.port
	if port == 0 {
		port = DefaultPort
	}
	s.Listen = netip.AddrPortFrom(addr, uint16(port))
	if s.File == "" {
		return &s, nil
	}
	file, err := filepath.Abs(s.File)
	if err != nil {
		return nil, fmt.Errorf("path of %s: %w", s.File, err)
	}
	s.File = file
	for _, path := range []*string{&s.StateDir, &s.RunDir, &s.AuditLog} {
		if *path != "" {
			*path = within(filepath.Dir(file), *path)
		}
	}
	s.Defaults = s.Defaults.withOutputDir(filepath.Dir(file), d.outputDir)
	return &s, nil
}
