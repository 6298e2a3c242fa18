package sshhost

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// surroundings is an environment with its own home and system directory; files
// are named as $HOME/… and $SYS/…, and their texts may use both.
func surroundings(t testing.TB, variables map[string]string, files map[string]string) environment {
	t.Helper()
	env := environment{home: t.TempDir(), systemDir: t.TempDir(), user: "me", host: "box.example.com", getenv: func(name string) string { return variables[name] }}
	place := strings.NewReplacer("$HOME", env.home, "$SYS", env.systemDir)
	for name, text := range files {
		path := place.Replace(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(place.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

const userConfig = "$HOME/.ssh/config"

func TestSettings(t *testing.T) {
	usualIdentities := []string{"$HOME/.ssh/id_ed25519", "$HOME/.ssh/id_ecdsa", "$HOME/.ssh/id_rsa"}
	usualKnown := []string{"$HOME/.ssh/known_hosts", "$HOME/.ssh/known_hosts2", "$SYS/ssh_known_hosts", "$SYS/ssh_known_hosts2"}
	// plain are the settings of a host that no file says anything of.
	plain := func(name string, change func(*settings)) settings {
		s := settings{alias: name, host: name, port: 22, user: "me", identities: usualIdentities, knownHosts: usualKnown}
		if change != nil {
			change(&s)
		}
		if s.lookup == "" {
			s.lookup = s.addr()
		}
		return s
	}
	named := func(files ...string) func(*settings) {
		return func(s *settings) { s.identities, s.named = files, true }
	}
	tests := []struct {
		name   string
		files  map[string]string
		target Target
		want   settings
	}{
		{"no files", nil, Target{Name: "web"}, plain("web", nil)},
		{"an address", nil, Target{Name: "::1", Port: 2222, User: "ops"}, plain("::1", func(s *settings) { s.port, s.user = 2222, "ops" })},
		{"the usual keywords", map[string]string{userConfig: "Host web\n\tHostName\t10.0.0.1\n  Port=2022\n  User = \"ops\"\n  ConnectTimeout 3\n"}, Target{Name: "web"},
			plain("web", func(s *settings) { s.host, s.port, s.user, s.connectTimeout = "10.0.0.1", 2022, "ops", 3*time.Second })},
		{"the command line counts more", map[string]string{userConfig: "Host *\n Port 2022\n User ops\n"}, Target{Name: "web", User: "root", Port: 22}, plain("web", func(s *settings) { s.user = "root" })},
		{"another host's", map[string]string{userConfig: "Host db\n Port 2022\nHost *.example !web.example\n Port 2023\n"}, Target{Name: "web.example"}, plain("web.example", nil)},
		{"the first value counts", map[string]string{userConfig: "port 1\nHost web\n Port 2\n", "$SYS/ssh_config": "Port 3\nUser sys\n"}, Target{Name: "web"},
			plain("web", func(s *settings) { s.port, s.user = 1, "sys" })},
		{"patterns after tabs and in quotes", map[string]string{userConfig: "Host a\t\"web\"\tb # mine\n Port 2022\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.port = 2022 })},
		{"a last line without an end", map[string]string{userConfig: "Host web\n Port 2022"}, Target{Name: "web"}, plain("web", func(s *settings) { s.port = 2022 })},
		{"lines of DOS", map[string]string{userConfig: "Host web\r\n Port 2022\r\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.port = 2022 })},
		{"several identities and tokens", map[string]string{userConfig: "Host web\n HostName h.%h\n User ops\n IdentityFile ~/.ssh/%r@%h\n IdentityFile \"%d/a b\"\nHost *\n IdentityFile /k/%u-%n-%p-%L%%\n IdentityFile ~/.ssh/%r@%h\n"}, Target{Name: "web"},
			plain("web", func(s *settings) {
				s.host, s.user = "h.web", "ops"
				named("$HOME/.ssh/ops@h.web", "$HOME/a b", "/k/me-web-22-box%")(s)
			})},
		{"no identities", map[string]string{userConfig: "IdentityFile none\nIdentitiesOnly yes\nIdentityAgent none\n"}, Target{Name: "web"}, plain("web", func(s *settings) { named()(s); s.identitiesOnly = true })},
		{"an agent of its own", map[string]string{userConfig: "IdentityAgent ~/agent\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.agent = "$HOME/agent" })},
		{"known hosts", map[string]string{userConfig: "UserKnownHostsFile ~/kh \"$HOME/k h\"\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\nHostKeyAlias other\nPort 2022\n"}, Target{Name: "web"},
			plain("web", func(s *settings) {
				s.port, s.lookup, s.strict, s.knownHosts = 2022, "other:22", true, []string{"$HOME/kh", "$HOME/k h"}
			})},
		{"revoked keys", map[string]string{userConfig: "RevokedHostKeys ~/a \"$HOME/b c\"\nHost *\n RevokedHostKeys none\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.revoked = []string{"$HOME/a", "$HOME/b c"} })},
		{"one kind of address", map[string]string{userConfig: "AddressFamily inet6\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.family = "6" })},
		{"what asks for nothing", map[string]string{userConfig: "KnownHostsCommand none\nCanonicalizeHostname no\nPubkeyAuthentication yes\nAddressFamily any\nRevokedHostKeys none\n"}, Target{Name: "web"}, plain("web", nil)},
		{"jumps", map[string]string{userConfig: "ProxyJump ops@a:2022,ssh://b,[::1]:22\n"}, Target{Name: "web"},
			plain("web", func(s *settings) {
				s.jumps = []Target{{Name: "a", User: "ops", Port: 2022}, {Name: "b"}, {Name: "::1", Port: 22}}
			})},
		{"a jump before a command", map[string]string{userConfig: "ProxyJump none\nProxyCommand nc %h %p\n"}, Target{Name: "web"}, plain("web", nil)},
		{"no command", map[string]string{userConfig: "ProxyCommand none\nProxyJump a\n"}, Target{Name: "web"}, plain("web", nil)},
		{"included files", map[string]string{
			userConfig: "Include conf.d/*.conf other\nPort 4\n", "$HOME/.ssh/conf.d/1.conf": "Host web\n User one\n", "$HOME/.ssh/conf.d/2.conf": "User two\nPort 2\n",
			"$SYS/ssh_config": "Include more\n", "$SYS/more": "HostName from-system\n",
		}, Target{Name: "web"}, plain("web", func(s *settings) { s.user, s.port, s.host = "one", 2, "from-system" })},
		{"included for another host", map[string]string{userConfig: "Host db\n Include more\nHost *\n Port 3\n", "$HOME/.ssh/more": "User db\nHost web\n User web\nMatch all\n Port 9\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.port = 3 })},
		{"what follows an included Host belongs to the file", map[string]string{userConfig: "Include more\nPort 5\n", "$HOME/.ssh/more": "Host db\n User db\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.port = 5 })},
		{"matches", map[string]string{userConfig: "Match host web user ops\n Port 1\nMatch originalhost w*,!web2 localuser me\n Port 2\nMatch all\n User last\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.port, s.user = 2, "last" })},
		{"a match of what was found so far", map[string]string{userConfig: "Host web\n HostName 10.0.0.1\nMatch host 10.* !user root\n Port 7\n"}, Target{Name: "web"}, plain("web", func(s *settings) { s.host, s.port = "10.0.0.1", 7 })},
		{"the match that Red Hat ships", map[string]string{userConfig: "Host web\n HostName 10.0.0.1\n", "$SYS/ssh_config": "Include ssh_config.d/*.conf\n", "$SYS/ssh_config.d/50-redhat.conf": "Match final all\n GSSAPIAuthentication yes\n Port 8\n"}, Target{Name: "web"},
			plain("web", func(s *settings) { s.host, s.port = "10.0.0.1", 8 })},
		{"a match that does not decide", map[string]string{userConfig: "Match host db exec \"true\"\n Port 1\n"}, Target{Name: "web"}, plain("web", nil)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := surroundings(t, nil, tt.files)
			got, err := env.lookup(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			place := strings.NewReplacer("$HOME", env.home, "$SYS", env.systemDir)
			want := tt.want
			want.identities, want.knownHosts = replaceAll(place, want.identities), replaceAll(place, want.knownHosts)
			want.agent, want.revoked = place.Replace(want.agent), replaceAll(place, want.revoked)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func replaceAll(r *strings.Replacer, list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, r.Replace(s))
	}
	return out
}

func TestAgentOfTheEnvironment(t *testing.T) {
	for config, want := range map[string]string{
		"":                             "/run/agent",
		"IdentityAgent SSH_AUTH_SOCK":  "/run/agent",
		"IdentityAgent $OTHER":         "/run/other",
		"IdentityAgent ${OTHER}.%p":    "/run/other.22",
		"IdentityAgent \"~/my agent\"": "$HOME/my agent",
	} {
		env := surroundings(t, map[string]string{"SSH_AUTH_SOCK": "/run/agent", "OTHER": "/run/other"}, map[string]string{userConfig: config})
		s, err := env.lookup(Target{Name: "web"})
		if want = strings.ReplaceAll(want, "$HOME", env.home); err != nil || s.agent != want {
			t.Errorf("%s: %q, %v, want %q", config, s.agent, err, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"\nProxyCommand nc %h %p":                ":2: ProxyCommand is not supported by kita",
		"KnownHostsCommand /bin/keys %H":         ":1: KnownHostsCommand is not supported by kita",
		"CanonicalizeHostname always":            ":1: CanonicalizeHostname is not supported by kita",
		"BindAddress 10.0.0.1":                   ":1: BindAddress is not supported by kita",
		"BindInterface eth1":                     ":1: BindInterface is not supported by kita",
		"PubkeyAuthentication no":                ":1: PubkeyAuthentication is not supported by kita; kita logs in with keys alone",
		"AddressFamily ipv4":                     ":1: AddressFamily ipv4: give any, inet or inet6",
		"ProxyJump a,,b":                         ":1: ProxyJump a,,b: \"\" is no host",
		"ProxyJump a:0":                          `"0" is no port`,
		"ProxyJump http://a":                     "is no host to jump to",
		"Host *\n  Port x":                       ":2: Port x: give a number",
		"IdentityFile %q":                        ":1: IdentityFile %q: %q cannot be used here",
		"IdentityFile ${NOWHERE}/x":              "the variable ${NOWHERE} is not set",
		"UserKnownHostsFile ~nobody-here-xyz/kh": "the home directory of nobody-here-xyz is not known",
		"HostName \"\"\nPort 1":                  ":1: HostName needs a value",
		"\nHostName":                             ":2: HostName needs a value",
		"HostName %":                             "a % stands at the end",
		"IdentitiesOnly maybe":                   "give yes or no",
		"StrictHostKeyChecking sometimes":        "give yes or accept-new",
		"ConnectTimeout soon":                    "give a number of seconds",
		"Match exec \"test -f x\"":               ":1: kita does not know `Match exec`",
		"Match":                                  ":1: Match needs a criterion",
		"Match host":                             ":1: Match host needs a value",
		"Match host a,,b":                        "a pattern of `Match host a,,b` is empty",
		"Include config":                         "too many files include one another",
		"Include [":                              ":1: Include [: syntax error in pattern",
	} {
		env := surroundings(t, nil, map[string]string{userConfig: text})
		_, err := env.lookup(Target{Name: "web"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", text, err, want)
		}
	}
}

func TestConfigThatOthersMayWriteIsRefused(t *testing.T) {
	env := surroundings(t, nil, map[string]string{userConfig: "Port 1\n", "$SYS/ssh_config": "User sys\n"})
	path := filepath.Join(env.home, ".ssh", "config")
	for mode, refused := range map[os.FileMode]bool{0o622: true, 0o664: true, 0o644: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := env.lookup(Target{Name: "web"})
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), "others may write it") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := env.lookup(Target{Name: "web"}); err == nil || !strings.Contains(err.Error(), path+": it is no file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestCirclesAreRefused(t *testing.T) {
	env := surroundings(t, nil, map[string]string{userConfig: "Host a\n ProxyJump b\nHost b\n ProxyJump a\nHost *\n User me\nHost c\n ProxyJump d\nHost e\n ProxyJump 1,2,3,4,5,6,7,8,9\n"})
	for name, want := range map[string]string{"a": "in a circle: me@a:22, me@b:22, me@a:22", "e": "through more than 8 hosts"} {
		if _, err := env.route(Target{Name: name}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	route, err := env.route(Target{Name: "c"}, nil)
	if err != nil || len(route) != 2 || route[0].alias != "d" || route[1].alias != "c" {
		t.Errorf("c: %+v, %v", route, err)
	}
}

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"Host a\n Port 1\n", "Match host a user=b final all\nInclude x y", "Host\tweb \"x\n", "UserKnownHostsFile \"a b\" c#d", "IdentityFile \"%d", "=", "Host", "Match !all", "a=b # c",
	} {
		f.Add(seed)
	}
	env := surroundings(f, nil, nil)
	path := filepath.Join(env.home, ".ssh", "config")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := env.lookup(Target{Name: "web"})
		if err == nil && (s.host == "" || s.port == 0 || s.user == "") {
			t.Errorf("settings without a place: %+v", s)
		}
	})
}
