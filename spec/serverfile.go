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
		{Key{Name: "loadpaths", Forms: []Form{List}, Element: scalars(KindDirectory), Example: "loadpaths: [/srv/children]", Default: "none",
			Doc:  "directories of child files; a relative one is relative to the server's working directory",
			More: "Subdirectories and hidden files are not read. One that does not exist is a warning"},
			func(v value, s *serverDraft) { s.LoadPaths = v.texts(value.filledText) }},
		{Key{Name: "mode", Forms: []Form{Scalar}, Kind: KindChoice, Example: "mode: full", Values: []string{string(Quiet), string(Half), string(Full)}, Default: "`quiet`",
			Doc:  "which children start with the server: `quiet` none, `half` those of `startup`, `full` all",
			More: "In full mode the server does not start where a file is illegal and the mode is to decide. A child whose hooks cannot be followed is passed over in both, as is one with an illegal file in half mode: `check`, `why` and `info` say so. See [decision 1](decisions/0001-startup-modes.md)"},
			func(v value, s *serverDraft) { readChoice(v, &s.Mode) }},
		{Key{Name: "startup", Forms: []Form{List}, Element: scalars(KindName), Example: "startup: [db, web]", Default: "none",
			Doc: "what half mode starts, in this order", More: "A name without a file is skipped with a warning"},
			func(v value, s *serverDraft) { s.Startup = v.texts(value.filledText) }},
		{Key{Name: "encrypt", Forms: []Form{Scalar}, Kind: KindChoice, Example: "encrypt: on", Values: []string{"on", "off"}, Default: "`off`",
			Doc: "with `on` nothing but SSH is served over TCP, to the keys of `pub_keys_path`", More: "The unix socket is not concerned"},
			func(v value, s *serverDraft) { readSwitch(v, "on", &s.Encrypt) }},
		{Key{Name: "pub_keys_path", Forms: []Form{List}, Element: scalars(KindDirectory), Example: "pub_keys_path: [/srv/keys]", Default: "none",
			Doc:  "directories of public keys: `NAME.pem`, or `NAME.pub` in OpenSSH's format",
			More: "They are looked up at each connection. A relative one is relative to the server's working directory"},
			func(v value, s *serverDraft) { s.PubKeysPath = v.texts(value.filledText) }},
		{Key{Name: "legacy_keys_path", Forms: []Form{List}, Element: scalars(KindDirectory), Example: "legacy_keys_path: [/srv/old-keys]", Default: "none",
			Doc:  "directories of public keys of which the packets of supervisor-rs are accepted",
			More: "A key has to lie here as well as in `pub_keys_path`, under one name: whoever has seen such a packet can send it again"},
			func(v value, s *serverDraft) { s.LegacyKeysPath = v.texts(value.filledText) }},
		{Key{Name: "access", Forms: []Form{List}, Element: elements(accessRules()), Example: "access: [" + accessExample + "]", Default: "every key may do everything",
			Doc: "what each key may do, a list of rules", More: "`[]` allows nobody anything. See [access](files.md#access)"}, readAccess},
		{Key{Name: "audit_log", Forms: []Form{Scalar}, Kind: KindFile, Example: "audit_log: /var/log/kita-audit.log", Default: "none",
			Doc: "a file that gets a line of JSON for each command; relative to this file", More: "See [audit_log](files.md#audit_log)"},
			func(v value, s *serverDraft) { readText(v, &s.AuditLog) }},
		{Key{Name: "listener_addr", Forms: []Form{Scalar}, Kind: KindAddress, Example: "listener_addr: 127.0.0.1", Default: "`0.0.0.0`",
			Doc: "the IP address to serve"}, readListenerAddr},
		{Key{Name: "ipv6", Forms: []Form{Scalar}, Kind: KindBoolean, Example: "ipv6: true", Values: booleans, Default: "`false`",
			Doc: "without `listener_addr`, serve `::` instead of `0.0.0.0`"},
			func(v value, s *serverDraft) { readSwitch(v, "true", &s.ipv6) }},
		{Key{Name: "port", Forms: []Form{Scalar}, Kind: KindInteger, Example: "port: 33889", Min: 1, Max: 65535, Default: "`33889`", Doc: "the TCP port"},
			func(v value, s *serverDraft) { readInteger(v, &s.port) }},
		{Key{Name: "metrics_addr", Forms: []Form{Scalar}, Kind: KindHostPort, Example: "metrics_addr: 127.0.0.1:9100", Default: "none",
			Doc: "an address that serves only `/metrics` and [`/v1/sd`](monitoring.md#discovery)", More: "The main port serves it too"}, readMetricsAddr},
		{Key{Name: "state_dir", Forms: []Form{Scalar}, Kind: KindDirectory, Example: "state_dir: /var/lib/kita",
			Default: "root: `/var/lib/kita`; others: `$XDG_STATE_HOME/kita`, else `~/.local/state/kita`",
			Doc:     "where desired state is kept, and the history of the children (`events`, a line of JSON each); relative to this file"},
			func(v value, s *serverDraft) { readText(v, &s.StateDir) }},
		{Key{Name: "run_dir", Forms: []Form{Scalar}, Kind: KindDirectory, Example: "run_dir: /run/kita",
			Default: "root: `/run/kita`; others: `$XDG_RUNTIME_DIR/kita`, else `/tmp/kita-UID`",
			Doc:     "where the unix socket and the facts of this boot are; relative to this file"},
			func(v value, s *serverDraft) { readText(v, &s.RunDir) }},
		{Key{Name: "output_dir", Forms: []Form{Scalar}, Kind: KindDirectory, Example: "output_dir: /var/log/kita", Default: "none",
			Doc: "a child without `output` writes to `NAME.log` in it; relative to this file", More: "`defaults` and a child's file may have another. See [output](output.md)"},
			func(v value, s *serverDraft) { readText(v, &s.outputDir) }},
		{Key{Name: "disk_budget", Forms: []Form{Scalar}, Kind: KindSize, Least: "1MiB", Example: "disk_budget: 10GB", Default: "any amount",
			Doc: "the most that the files under rotation and their archives may take, all together"},
			func(v value, s *serverDraft) {
				if n, ok := readSize(v, leastBudget); ok {
					s.DiskBudget = n
				}
			}},
		{Key{Name: "on_exit", Forms: []Form{Scalar}, Kind: KindChoice, Example: "on_exit: stop", Values: []string{string(Leave), string(StopChildren)},
			Default: "`leave`; `stop` where kita is PID 1",
			Doc:     "what TERM and INT do with the children: `leave` them running, or `stop` them within their grace",
			More:    "See [crashes and upgrades](crash-and-upgrade.md)"},
			func(v value, s *serverDraft) { readChoice(v, &s.OnExit) }},
		{Key{Name: "exit_with", Forms: []Form{Scalar}, Kind: KindChild, Example: "exit_with: web", Default: "none",
			Doc:  "when this child has ended for good, the others are stopped and the server ends with its status",
			More: "That is its exit code, 128 and the signal's number, 127 where it could not be launched, 1 where the status is not known. Not when a command stopped it"}, readExitWith},
		{Key{Name: "defaults", Forms: []Form{Mapping}, Example: "defaults: {stop: {grace: 30s}}", Keys: keysOf(defaultsRules()), Default: "none",
			Doc:  "keys of a child's file, for each child whose file does not have them",
			More: "Any but `command`, `args` and `metrics`; `env`, `limits`, `stop`, `restart` and `rotate` merge by name"},
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
