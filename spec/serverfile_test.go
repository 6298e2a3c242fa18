package spec

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseServer(t *testing.T) {
	tests := []struct {
		name, text string
		want       func(*Server)
	}{
		{"empty file", "", func(*Server) {}},
		{"only a comment", "# later\n", func(*Server) {}},
		{"empty mapping", "{}", func(*Server) {}},
		{"the example of supervisor-rs", `
loadpaths: [/srv/children, /srv/more]
mode: half
startup: [web, worker]
encrypt: "on"
pub_keys_path: [/srv/keys]
listener_addr: 127.0.0.1
ipv6: true
`, func(s *Server) {
			s.LoadPaths, s.Mode, s.Startup = []string{"/srv/children", "/srv/more"}, Half, []string{"web", "worker"}
			s.Encrypt, s.PubKeysPath = true, []string{"/srv/keys"}
			s.Listen = netip.MustParseAddrPort("127.0.0.1:33889")
		}},
		{"bare on", "encrypt: on", func(s *Server) { s.Encrypt = true }},
		{"bare off", "encrypt: off", func(*Server) {}},
		{"bare ::1", "listener_addr: ::1", func(s *Server) { s.Listen = netip.MustParseAddrPort("[::1]:33889") }},
		{"zone", "listener_addr: fe80::1%eth0", func(s *Server) { s.Listen = netip.MustParseAddrPort("[fe80::1%eth0]:33889") }},
		{"ipv6", "ipv6: true", func(s *Server) { s.Listen = netip.MustParseAddrPort("[::]:33889") }},
		{"no ipv6", "ipv6: false", func(*Server) {}},
		{"port", "port: 1234", func(s *Server) { s.Listen = netip.MustParseAddrPort("0.0.0.0:1234") }},
		{"metrics", "metrics_addr: localhost:9100", func(s *Server) { s.MetricsAddr = "localhost:9100" }},
		{"metrics everywhere", "metrics_addr: ':9100'", func(s *Server) { s.MetricsAddr = ":9100" }},
		{"relative directories", "state_dir: state\nrun_dir: ../run", func(s *Server) { s.StateDir, s.RunDir = "/etc/kita/state", "/etc/run" }},
		{"absolute directories", "state_dir: /a\nrun_dir: /b/", func(s *Server) { s.StateDir, s.RunDir = "/a", "/b" }},
		{"old keys", "legacy_keys_path: [/srv/old, rel]", func(s *Server) { s.LegacyKeysPath = []string{"/srv/old", "rel"} }},
		{"relative audit log", "audit_log: log/audit", func(s *Server) { s.AuditLog = "/etc/kita/log/audit" }},
		{"absolute audit log", "audit_log: /var/log/audit", func(s *Server) { s.AuditLog = "/var/log/audit" }},
		{"startup in quiet mode", "startup: [web]", func(s *Server) { s.Startup = []string{"web"} }},
		{"stop at the end", "on_exit: stop", func(s *Server) { s.OnExit = StopChildren }},
		{"leave at the end", "on_exit: leave", func(s *Server) { s.OnExit = Leave }},
		{"end with a child", "exit_with: web", func(s *Server) { s.ExitWith = "web" }},
		{"disk budget", "disk_budget: 10GB", func(s *Server) { s.DiskBudget = 10e9 }},
		{"relative load path", "loadpaths: [kids]", func(s *Server) { s.LoadPaths = []string{"kids"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := DefaultServer()
			want.File = "/etc/kita/server.yml"
			tt.want(want)
			got, err := ParseServer("/etc/kita/server.yml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestDefaultServer(t *testing.T) {
	want := &Server{LoadPaths: []string{}, Mode: Quiet, Listen: netip.MustParseAddrPort("0.0.0.0:33889")}
	if got := DefaultServer(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestParseServerErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"list", "- a", "1: yaml: the file is a list, write lines of KEY: VALUE, as in loadpaths: [/srv/children]"},
		{"mode", "mode: fast", `1: mode: "fast" is not known, write quiet, half or full`},
		{"mode in capitals", "mode: Full", `1: mode: "Full" is not known, write quiet, half or full`},
		{"encrypt true", "encrypt: true", `1: encrypt: "true" is not known, write on or off`},
		{"encrypt yes", "encrypt: yes", `1: encrypt: "yes" is not known, write on or off`},
		{"encrypt On", "encrypt: On", `1: encrypt: "On" is not known, write on or off`},
		{"encrypt without a value", "encrypt:", `1: encrypt: has no value, write encrypt: on or leave the key out`},
		{"ipv6", "ipv6: yes", `1: ipv6: "yes" is not known, write true or false`},
		{"unknown key", "\nloadpath: [a]", `2: loadpath: unknown key, did you mean loadpaths?`},
		{"a key of another kind of file", "command: x", `1: command: unknown key, write one of loadpaths, mode, startup, encrypt, pub_keys_path, legacy_keys_path, access, audit_log, listener_addr, ipv6, port, metrics_addr, state_dir, run_dir, output_dir, disk_budget, on_exit, exit_with, defaults`},
		{"text for a list", "loadpaths: /srv/a", `1: loadpaths: is text where a list belongs, write loadpaths: [/srv/a]`},
		{"startup as text", "startup: web", `1: startup: is text where a list belongs, write startup: [web]`},
		{"list for text", "listener_addr: [127.0.0.1]", `1: listener_addr: is a list where text belongs, write listener_addr: 127.0.0.1`},
		{"empty load path", "loadpaths: ['']", `1: loadpaths: is empty, write loadpaths: [/srv/children]`},
		{"mapping in a list", "loadpaths: [a: b]", `1: loadpaths: a mapping stands where text belongs, write loadpaths: [/srv/children]`},
		{"host name", "listener_addr: localhost", `1: listener_addr: "localhost" is no IP address, write 127.0.0.1 or ::1; the port is a key of its own`},
		{"address with a port", "listener_addr: 127.0.0.1:80", `1: listener_addr: "127.0.0.1:80" is no IP address, write 127.0.0.1 or ::1; the port is a key of its own`},
		{"port 0", "port: 0", `1: port: "0" is no whole number from 1 to 65535, write port: 33889`},
		{"port too large", "port: 65536", `1: port: "65536" is no whole number from 1 to 65535, write port: 33889`},
		{"metrics without a port", "metrics_addr: localhost", `1: metrics_addr: "localhost" is no host:port, write metrics_addr: 127.0.0.1:9100`},
		{"metrics with a named port", "metrics_addr: a:http", `1: metrics_addr: "a:http" is no host:port, write metrics_addr: 127.0.0.1:9100`},
		{"old keys as text", "legacy_keys_path: /srv/old", `1: legacy_keys_path: is text where a list belongs, write legacy_keys_path: [/srv/old]`},
		{"an audit log of nothing", "audit_log: ''", `1: audit_log: is empty, write audit_log: /var/log/kita-audit.log`},
		{"two audit logs", "audit_log: [a, b]", `1: audit_log: is a list where text belongs, write audit_log: /var/log/kita-audit.log`},
		{"a budget without a unit", "disk_budget: 10", `1: disk_budget: "10" is too small, write at least 1048576 bytes, as in disk_budget: 10GB`},
		{"no budget", "disk_budget: unlimited", `1: disk_budget: "unlimited" is no size, write a number and kB, MB, MiB or GB, as in disk_budget: 10GB`},
		{"output in no directory", "output_dir: ''", `1: output_dir: is empty, write output_dir: /var/log/kita`},
		{"on_exit", "on_exit: kill", `1: on_exit: "kill" is not known, write leave or stop`},
		{"exit_with nothing", "exit_with: ''", `1: exit_with: is empty, write exit_with: web`},
		{"exit_with a word", "exit_with: all", `1: exit_with: "all" is reserved and cannot be the name of a child, write exit_with: web`},
		{"exit_with a file", "exit_with: web.yml", `1: exit_with: the name "web.yml" has a '.', which the name of a child cannot have, write exit_with: web`},
		{"exit_with a list", "exit_with: [a, b]", `1: exit_with: is a list where text belongs, write exit_with: web`},
		{"defaults of the command", "defaults: {command: x}", `1: defaults.command: has no default, write it into the file of each child`},
		{"defaults of metrics", "defaults: {metrics: {port: 1}}", `1: defaults.metrics: has no default, write it into the file of each child`},
		{"defaults of args", "defaults: {args: [x]}", `1: defaults.args: has no default, write it into the file of each child`},
		{"wrong defaults", "defaults:\n  stop:\n    grace: 5\n  nicer: 1\n  env: {A: }", "3: defaults.stop.grace: \"5\" has no unit, write 5s\n" +
			"4: defaults.nicer: unknown key, did you mean nice?\n" + `5: defaults.env.A: has no value, write "" for empty text`},
		{"defaults text", "defaults: x", `1: defaults: is text where a mapping belongs, write defaults: {stop: {grace: 30s}}`},
		{"key given twice", "mode: full\nmode: quiet", `2: mode: is given twice, first in line 1, leave one out`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantServerErrors(t, tt.text, tt.want)
		})
	}
}

// wantServerErrors wants a server.yml refused with these errors, a line each,
// without the name of the file.
func wantServerErrors(t *testing.T, text, want string) {
	t.Helper()
	s, err := ParseServer("server.yml", []byte(text))
	errs, ok := errors.AsType[FileErrors](err)
	if !ok || s != nil {
		t.Fatalf("got %+v, %v", s, err)
	}
	if want := "server.yml:" + strings.ReplaceAll(want, "\n", "\nserver.yml:"); errs.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", errs, want)
	}
}

func TestDefaultsMerge(t *testing.T) {
	server, err := ParseServer("/s.yml", []byte(`
defaults:
  dir: sub
  user: nobody
  env: {A: default, B: default}
  limits: {nofile: 1, core: 0, memory: 1GiB, tasks: 50}
  output: [{stdout: d.out}, {stderr: d.err}]
  stop: {signal: INT, grace: 1s}
  restart:
    policy: always
    backoff: {max: 1m}
    limit: {starts: 3, within: 10s}
    success: [2]
  repeat: {seconds: 5, action: stop}
  hooks: [{prehook: start db}]
`))
	if err != nil {
		t.Fatal(err)
	}
	second := Duration(time.Second)
	tests := []struct {
		name, text string
		want       func(*Child)
	}{
		{"nothing of its own", "", func(*Child) {}},
		{"env by name", "env: {B: own, C: own}", func(c *Child) { c.Env = []EnvVar{{"A", "default"}, {"B", "own"}, {"C", "own"}} }},
		{"limits by name", "limits: {nofile: 2, as: 3}", func(c *Child) { c.Limits = []Limit{{"as", 3, 3}, {"core", 0, 0}, {"nofile", 2, 2}} }},
		{"resources by name", "limits: {tasks: 9, cpu: 2}", func(c *Child) { c.Resources.Tasks, c.Resources.MilliCPU = 9, 2000 }},
		{"a resource without limit", "limits: {memory: unlimited}", func(c *Child) { c.Resources.Memory = 0 }},
		{"output as a whole", "output: [{stderr: own}]", func(c *Child) { c.Stdout, c.Stderr = nil, &Stream{Path: "own", Mode: Create} }},
		{"no output", "output: []", func(c *Child) { c.Stdout, c.Stderr = nil, nil }},
		{"stop by key", "stop: {grace: 2s}", func(c *Child) { c.Stop.Grace = 2 * second }},
		{"restart in a word", "restart: never", func(c *Child) { c.Restart.Policy = Never }},
		{"restart by key", "restart: {backoff: {initial: 40s}, limit: {starts: 4}, success: []}", func(c *Child) {
			c.Restart.Backoff.Initial, c.Restart.Limit.Starts, c.Restart.Success = 40*second, 4, nil
		}},
		{"no start limit", "restart: {limit: {starts: 0}}", func(c *Child) { c.Restart.Limit = StartLimit{} }},
		{"repeat as a whole", "repeat: {seconds: 9}", func(c *Child) { c.Repeat = &Repeat{VerbRestart, 9 * second} }},
		{"hooks as a whole", "hooks: [{posthook: stop db}]", func(c *Child) { c.Prehook, c.Posthook = nil, &Hook{VerbStop, "db"} }},
		{"no hooks", "hooks: []", func(c *Child) { c.Prehook = nil }},
		{"text", "user: www\ndir: /srv", func(c *Child) { c.User, c.Dir = "www", "/srv" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := &Child{
				Name: "web", File: "/lp/web.yml", LoadPath: "/lp", CommandLine: "x", Command: []string{"x"}, Dir: "/lp/sub", User: "nobody",
				Env:    []EnvVar{{"A", "default"}, {"B", "default"}},
				Limits: []Limit{{"core", 0, 0}, {"nofile", 1, 1}}, Resources: Resources{Memory: 1 << 30, Tasks: 50},
				Stdout: &Stream{Path: "d.out", Mode: Create}, Stderr: &Stream{Path: "d.err", Mode: Create},
				Stop: Stop{2, second},
				Restart: Restart{Always, Backoff{second / 2, 60 * second, 2}, StartLimit{3, 10 * second},
					[]ExitClass{{Code: 2}}},
				Repeat: &Repeat{VerbStop, 5 * second}, Prehook: &Hook{VerbStart, "db"},
			}
			tt.want(want)
			got, err := ParseChild("/lp", "/lp/web.yml", []byte("command: x\n"+tt.text), server.Defaults)
			if err != nil {
				t.Fatal(err)
			}
			got.Hash = ""
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	again, err := ParseChild("/lp", "/lp/web.yml", []byte("command: x\n"), server.Defaults)
	if err != nil || again.Env[1].Value != "default" || again.Stdout.Path != "d.out" {
		t.Errorf("a child changed the defaults: %+v, %v", again, err)
	}
}

func TestFindServerFile(t *testing.T) {
	dir := t.TempDir()
	absent := filepath.Join(dir, "absent.yml")
	system := filepath.Join(dir, "system.yml")
	write(t, system, "")
	uid := uint32(os.Geteuid())
	shared := func(name string, mode os.FileMode, dirMode os.FileMode) string {
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(d, "server.yml")
		write(t, path, "")
		for p, m := range map[string]os.FileMode{path: mode, d: dirMode} {
			if err := os.Chmod(p, m); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	good := shared("good", 0o644, 0o777|os.ModeSticky)
	group := shared("group", 0o664, 0o777|os.ModeSticky)
	world := shared("world", 0o646, 0o777|os.ModeSticky)
	open := shared("open", 0o644, 0o777)
	link := filepath.Join(filepath.Dir(good), "link.yml")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop.yml")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		search  serverSearch
		want    string
		warning string
	}{
		{"the system's comes first", serverSearch{system, good, uid}, system, ""},
		{"then the shared one", serverSearch{absent, good, uid}, good, ""},
		{"neither", serverSearch{absent, absent, uid}, "", ""},
		{"group can write", serverSearch{absent, group, uid}, "", "others can write it"},
		{"all can write", serverSearch{absent, world, uid}, "", "others can write it"},
		{"all can replace", serverSearch{absent, open, uid}, "", "others can replace it"},
		{"a link", serverSearch{absent, link, uid}, "", "not a regular file"},
		{"the system's cannot be looked at", serverSearch{loop, good, uid}, good, loop + " is passed over"},
	}
	if os.Geteuid() != 0 { // root's files are trusted by everybody
		tests = append(tests, struct {
			name    string
			search  serverSearch
			want    string
			warning string
		}{"another user's", serverSearch{absent, good, uid + 1}, "", "owns it"})
	} else {
		foreign := shared("foreign", 0o644, 0o777|os.ModeSticky)
		if err := os.Chown(foreign, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		tests = append(tests, struct {
			name    string
			search  serverSearch
			want    string
			warning string
		}{"another user's", serverSearch{absent, foreign, 0}, "", "user 12345 owns it"})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, warnings, err := tt.search.find("")
			if err != nil || got != tt.want || (len(warnings) > 0) != (tt.warning != "") || !strings.Contains(strings.Join(warnings, "\n"), tt.warning) {
				t.Errorf("got %q, %q, %v", got, warnings, err)
			}
		})
	}
	t.Chdir(dir)
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := FindServerFile("x/../my.yml"); err != nil || got != filepath.Join(wd, "my.yml") {
		t.Errorf("argument: %q, %v", got, err)
	}
}

func TestLoadFromDisk(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "server.yml")
	write(t, file, "mode: full\nrun_dir: run\n")
	s, err := LoadServer(file)
	if err != nil || s.Mode != Full || s.File != file || s.RunDir != filepath.Join(dir, "run") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := LoadServer(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("directory: %v", err)
	}
	web := filepath.Join(dir, "web.yml")
	write(t, web, "command: x\n")
	if c, err := LoadChild(dir, web, nil); err != nil || c.Name != "web" || c.Dir != dir {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := LoadChild(dir, filepath.Join(dir, "no.yml"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
