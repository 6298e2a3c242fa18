package sshhost

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"kita/control/keyring"
)

// settings are how one host is reached, once everything is looked up.
type settings struct {
	// alias is the name as it was given, host what is dialled.
	alias, host string
	port        uint16
	// family is 4 or 6 where only such addresses are dialled, else empty.
	family string
	user   string
	// identities are files of private keys. named: the configuration gives
	// them, else they are the usual ones.
	identities     []string
	named          bool
	identitiesOnly bool
	// agent is the socket of the ssh-agent; empty for none.
	agent string
	// knownHosts are the files of known hosts, the first is written.
	knownHosts []string
	// revoked are files of keys that no host may have.
	revoked []string
	// lookup is the host:port by which they know the host.
	lookup string
	strict bool
	// connectTimeout is 0 where the configuration gives none.
	connectTimeout time.Duration
	// key is the only key to be offered; nil means the agent's and identities.
	key *keyring.Private
	// jumps are the hosts to go through, the first one first.
	jumps []Target
}

// addr is what is dialled.
func (s settings) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

const sshPort = 22

// lookup finds the settings of a host. What the target says itself counts more
// than the configuration.
func (env environment) lookup(t Target) (settings, error) {
	values, err := env.evaluate(t)
	if err != nil {
		return settings{}, err
	}
	r := resolver{env: env, values: values}
	s := settings{alias: t.Name, host: t.Name, port: t.Port, user: t.User, key: t.Key}
	if v, ok := r.first("hostname"); ok {
		if s.host, err = expandTokens(v.text, map[byte]string{'h': t.Name}); err != nil {
			return settings{}, v.fail("HostName %s: %w", v.text, err)
		}
	}
	if v, ok := r.first("user"); ok && s.user == "" {
		s.user = v.text
	}
	if s.user == "" {
		s.user = env.user
	}
	if v, ok := r.first("port"); ok && s.port == 0 {
		port, err := strconv.ParseUint(v.text, 10, 16)
		if err != nil || port == 0 {
			return settings{}, v.fail("Port %s: give a number from 1 to 65535", v.text)
		}
		s.port = uint16(port)
	}
	if s.port == 0 {
		s.port = sshPort
	}
	r.tokens = map[byte]string{
		'd': env.home, 'h': s.host, 'r': s.user, 'u': env.user, 'n': t.Name, 'p': strconv.Itoa(int(s.port)),
		'l': env.host, 'L': firstLabel(env.host), 'k': s.host,
	}
	for _, step := range []func(*settings) error{r.unsupported, r.hostKeys, r.keys, r.proxy, r.addresses, r.timeout} {
		if err := step(&s); err != nil {
			return settings{}, err
		}
	}
	return s, nil
}

// evaluate reads the user's file and then the system's, a second time where a
// `Match final` is in them.
func (env environment) evaluate(t Target) (map[string][]value, error) {
	e := evaluation{env: env, original: t.Name, user: t.User, values: map[string][]value{}}
	for {
		if err := e.read(filepath.Join(env.home, ".ssh", "config"), true, true, 0); err != nil {
			return nil, err
		}
		if err := e.read(filepath.Join(env.systemDir, "ssh_config"), false, true, 0); err != nil {
			return nil, err
		}
		if e.final || !e.wantsFinal {
			return e.values, nil
		}
		e.final = true
	}
}

// resolver turns values into settings.
type resolver struct {
	env    environment
	values map[string][]value
	tokens map[byte]string
}

func (r resolver) first(keyword string) (value, bool) {
	v := r.values[keyword]
	if len(v) == 0 {
		return value{}, false
	}
	return v[0], true
}

// path resolves a file's name.
func (r resolver) path(keyword string, v value) (string, error) {
	path, err := r.env.expandHome(v.text)
	if err == nil {
		path, err = expandTokens(path, r.tokens)
	}
	if err != nil {
		return "", v.fail("%s %s: %w", keyword, v.text, err)
	}
	return path, nil
}

// isNone tells the word that switches a setting off.
func isNone(text string) bool { return strings.EqualFold(text, "none") }

// hostKeys reads by what name, and in which files, the host is known.
func (r resolver) hostKeys(s *settings) error {
	s.lookup = s.addr()
	if v, ok := r.first("hostkeyalias"); ok {
		r.tokens['k'] = v.text
		// Without a port, as ssh has it.
		s.lookup = net.JoinHostPort(v.text, strconv.Itoa(sshPort))
	}
	if v, ok := r.first("stricthostkeychecking"); ok {
		switch word := strings.ToLower(v.text); word {
		case "yes", "true":
			s.strict = true
		case "ask", "accept-new", "no", "off", "false":
			// A host that is new is trusted and shown; one that has changed is
			// refused all the same.
		default:
			return v.fail("StrictHostKeyChecking %s: give yes or accept-new", v.text)
		}
	}
	own, err := r.files("UserKnownHostsFile", filepath.Join(r.env.home, ".ssh", "known_hosts"), filepath.Join(r.env.home, ".ssh", "known_hosts2"))
	if err != nil {
		return err
	}
	common, err := r.files("GlobalKnownHostsFile", filepath.Join(r.env.systemDir, "ssh_known_hosts"), filepath.Join(r.env.systemDir, "ssh_known_hosts2"))
	if err != nil {
		return err
	}
	s.knownHosts = append(own, common...)
	s.revoked, err = r.files("RevokedHostKeys")
	return err
}

// files reads a list of files; usual are those of a configuration without one.
func (r resolver) files(keyword string, usual ...string) ([]string, error) {
	values, given := r.values[strings.ToLower(keyword)]
	if !given {
		return usual, nil
	}
	var files []string
	for _, v := range values {
		if isNone(v.text) {
			continue
		}
		path, err := r.path(keyword, v)
		if err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

// usualIdentities are the files of ssh, in the order of preference here.
var usualIdentities = [...]string{"id_ed25519", "id_ecdsa", "id_rsa"}

// keys reads which keys are offered.
func (r resolver) keys(s *settings) error {
	for _, v := range r.values["identityfile"] {
		s.named = true
		if isNone(v.text) {
			continue
		}
		path, err := r.path("IdentityFile", v)
		if err != nil {
			return err
		}
		s.identities = append(s.identities, path)
	}
	if !s.named {
		for _, name := range usualIdentities {
			s.identities = append(s.identities, filepath.Join(r.env.home, ".ssh", name))
		}
	}
	if v, ok := r.first("identitiesonly"); ok {
		var err error
		if s.identitiesOnly, err = yes("IdentitiesOnly", v); err != nil {
			return err
		}
	}
	s.agent = r.env.getenv("SSH_AUTH_SOCK")
	v, ok := r.first("identityagent")
	switch name, isVariable := strings.CutPrefix(v.text, "$"); {
	case !ok || v.text == "SSH_AUTH_SOCK":
	case isNone(v.text):
		s.agent = ""
	case isVariable && !strings.HasPrefix(name, "{"):
		s.agent = r.env.getenv(name)
	default:
		path, err := r.path("IdentityAgent", v)
		if err != nil {
			return err
		}
		s.agent = path
	}
	return nil
}

// proxy reads through which hosts the way leads.
func (r resolver) proxy(s *settings) error {
	v, ok := r.first("proxyjump")
	if !ok || isNone(v.text) {
		return nil
	}
	for _, text := range strings.Split(v.text, ",") {
		hop, err := parseJump(strings.TrimSpace(text))
		if err != nil {
			return v.fail("ProxyJump %s: %w", v.text, err)
		}
		s.jumps = append(s.jumps, hop)
	}
	return nil
}

// parseJump reads [user@]host[:port], also with ssh:// before it.
func parseJump(text string) (Target, error) {
	if scheme, rest, found := strings.Cut(text, "://"); found {
		if !strings.EqualFold(scheme, "ssh") {
			return Target{}, fmt.Errorf("%q is no host to jump to", text)
		}
		text = strings.TrimSuffix(rest, "/")
	}
	var t Target
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		t.User, text = text[:i], text[i+1:]
	}
	t.Name = text
	name, digits, err := net.SplitHostPort(text)
	if err == nil {
		port, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || port == 0 {
			return Target{}, fmt.Errorf("%q is no port", digits)
		}
		t.Name, t.Port = name, uint16(port)
	}
	t.Name = strings.TrimSuffix(strings.TrimPrefix(t.Name, "["), "]")
	if t.Name == "" || strings.ContainsAny(t.Name, " \t/") {
		return Target{}, fmt.Errorf("%q is no host to jump to", text)
	}
	return t, nil
}

// refusals are keywords that kita cannot follow, with the values that ask for
// nothing: without them it would reach another host than ssh does, trust one that
// ssh does not, or offer keys that are not to be used.
var refusals = []struct {
	keyword  string
	harmless []string
	remedy   string
}{
	{"ProxyCommand", []string{"none"}, "use ProxyJump, or `ProxyCommand none` for this host"},
	{"KnownHostsCommand", []string{"none"}, "write its keys into a file for UserKnownHostsFile, or `KnownHostsCommand none` for this host"},
	{"CanonicalizeHostname", []string{"no", "none", "false"}, "give the host's whole name as HostName, and `CanonicalizeHostname no`"},
	{"BindAddress", nil, "leave the address to the routes of this machine"},
	{"BindInterface", []string{"none"}, "leave the interface to the routes of this machine"},
	{"PubkeyAuthentication", []string{"yes", "true", "unbound", "host-bound"}, "kita logs in with keys alone"},
}

func (r resolver) unsupported(*settings) error {
	for _, refusal := range refusals {
		v, ok := r.first(strings.ToLower(refusal.keyword))
		if ok && !slices.Contains(refusal.harmless, strings.ToLower(v.text)) {
			return v.fail("%s is not supported by kita; %s", refusal.keyword, refusal.remedy)
		}
	}
	return nil
}

// addresses reads AddressFamily.
func (r resolver) addresses(s *settings) error {
	v, ok := r.first("addressfamily")
	if !ok {
		return nil
	}
	switch strings.ToLower(v.text) {
	case "any":
	case "inet":
		s.family = "4"
	case "inet6":
		s.family = "6"
	default:
		return v.fail("AddressFamily %s: give any, inet or inet6", v.text)
	}
	return nil
}

// timeout reads ConnectTimeout.
func (r resolver) timeout(s *settings) error {
	v, ok := r.first("connecttimeout")
	if !ok || isNone(v.text) {
		return nil
	}
	// Seconds, or with units, as in 1m30s.
	timeout, err := time.ParseDuration(strings.ToLower(v.text))
	if seconds, notDigits := strconv.ParseUint(v.text, 10, 24); notDigits == nil {
		timeout, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || timeout < 0 {
		return v.fail("ConnectTimeout %s: give a number of seconds", v.text)
	}
	s.connectTimeout = timeout
	return nil
}

func yes(keyword string, v value) (bool, error) {
	switch strings.ToLower(v.text) {
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	}
	return false, v.fail("%s %s: give yes or no", keyword, v.text)
}

func firstLabel(name string) string {
	label, _, _ := strings.Cut(name, ".")
	return label
}
