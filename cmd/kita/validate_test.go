package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// validateTest is a set of files, the words after validate, and what comes of it.
type validateTest struct {
	name   string
	files  map[string]string
	args   string
	status int
	out    string
	err    string
}

func TestValidate(t *testing.T) {
	const sane = "listener_addr: 127.0.0.1\noutput_dir: DIR/out\nloadpaths: [DIR/children]\n"
	good := map[string]string{
		"server.yml":       sane,
		"children/db.yml":  "command: sleep 1\n",
		"children/web.yml": "command: sleep 1\nhooks:\n  - prehook: start db\n",
	}
	with := func(changed ...string) map[string]string {
		files := maps.Clone(good)
		for i := 0; i < len(changed); i += 2 {
			files[changed[i]] = changed[i+1]
		}
		return files
	}
	const allGood = "3 files checked, all good\n"
	one := func(text string) (out, stderr string) {
		return "3 files checked, no mistakes, 1 warning\n", "kita: warning: DIR/" + text + "\n"
	}
	tests := []validateTest{
		{"a server.yml and its children", good, "DIR/server.yml", exitOK, allGood, ""},
		{"a file is checked once", good, "DIR/server.yml DIR/children/web.yml", exitOK, allGood, ""},
		{"a child file", good, "DIR/children/web.yml", exitOK, "1 file checked, all good\n", ""},
		{"a bad child", with("children/db.yml", "comand: x\n"), "DIR/server.yml", exitFailed, "", "DIR/children/db.yml:1: comand: "},
		{"a bad server.yml", with("server.yml", "\nmode: fast\n"), "DIR/server.yml", exitFailed, "", "DIR/server.yml:2: mode: "},
		{"every bad file is told", with("children/db.yml", "x: 1\n"), "DIR/children/db.yml DIR/nowhere.yml", exitFailed, "", "nowhere.yml"},
		{"a hook without a target", with("children/web.yml", "command: x\nhooks:\n  - prehook: start nope\n"), "DIR/server.yml", exitFailed, "", "DIR/children/web.yml:2: hooks: "},
		{"one name in two files", with("children/web.yaml", "command: x\n"), "DIR/server.yml", exitFailed, "", "web is in more than one file"},
		{"a name that is reserved", with("children/all.yml", "command: x\n"), "DIR/children/all.yml", exitFailed, "", "DIR/children/all.yml: "},
		{"no child file", with("children/web.txt", "x"), "DIR/children/web.txt", exitFailed, "", "holds no child"},
		{"a file that is not there", good, "DIR/nope", exitFailed, "", "DIR/nope: no such file or directory\n"},
		{"a directory of a set", good, "DIR", exitFailed, "", "DIR: it is a directory, name its server.yml, which is checked together with the children\n"},
		{"a directory of children", good, "DIR/children", exitFailed, "", "DIR/children: it is a directory, name the files in it\n"},
		{"names of hosts", with("hosts.yml", "hosts: {a: 10.0.0.1}\ngroups: {b: [a]}\n"), "DIR/hosts.yml", exitOK, "1 file checked, all good\n", ""},
		{"a group of nobody", with("hosts.yml", "hosts: {a: 10.0.0.1}\ngroups: {b: ['@c']}\n"), "DIR/hosts.yml", exitFailed, "", "DIR/hosts.yml:2: groups.b: "},
		{"defaults of the server", with("server.yml", sane+"defaults: {output: auto}\n", "children/db.yml", "command: x\noutput: auto\n"),
			"--server DIR/server.yml DIR/children/db.yml", exitOK, "2 files checked, all good\n", ""},
		{"no defaults without it", with("children/db.yml", "command: x\noutput: auto\n"), "DIR/children/db.yml", exitFailed, "", "DIR/children/db.yml:2: output: auto needs a directory"},
		{"a server's file of any name", with("prod.yml", sane), "--server DIR/prod.yml", exitOK, allGood, ""},
		{"hooks are looked up in its load paths", with("children/web.yml", "command: x\nhooks: [{prehook: start nope}]\n"),
			"--server DIR/server.yml DIR/children/web.yml", exitFailed, "", "DIR/children/web.yml:2: hooks: "},
		{"but not those of other files", with("children/web.yml", "command: x\nhooks: [{prehook: start nope}]\n"),
			"--server DIR/server.yml DIR/children/db.yml", exitOK, "2 files checked, all good\n", ""},
		{"a server's file that is wrong", with("server.yml", "mode: x\n"), "--server DIR/server.yml DIR/children/db.yml", exitFailed, "", "DIR/server.yml:1: mode: "},
		{"wrong words", good, "--as x.yml DIR/server.yml", exitUsage, "", "which no - asks for"},
		{"wrong format", good, "-o yaml", exitUsage, "", "validate takes json"},
		{"standard input needs a name", good, "-", exitUsage, "", "--as NAME"},
	}
	for _, w := range []struct{ name, server, text string }{
		{"exit_with without a file", sane + "exit_with: wbe\n", "server.yml:4: exit_with: no file wbe.yml or wbe.yaml in the load paths"},
		{"startup without a file", sane + "mode: half\nstartup: [web, bd]\n", "server.yml:5: startup: no file bd.yml or bd.yaml in the load paths"},
		{"startup that is not read", sane + "mode: full\nstartup: [web]\n", "server.yml:5: startup: is read in mode half alone, and mode is full"},
		{"an open port", strings.Replace(sane, "127.0.0.1", "0.0.0.0", 1), "server.yml:1: listener_addr: 0.0.0.0:33889 is open: whoever reaches it can start and stop children without a key, write encrypt: \"on\" with pub_keys_path, or listener_addr: 127.0.0.1 for every user of the host alone"},
		{"no keys", sane + "encrypt: on\n", "server.yml:4: encrypt: is on and there is no pub_keys_path: nobody can use the port, write pub_keys_path: [/etc/kita/keys]"},
		{"keys that are not there", sane + "encrypt: on\npub_keys_path: [DIR/keys]\n", "server.yml:5: pub_keys_path: DIR/keys is no directory that is there"},
		{"open metrics", sane + "metrics_addr: ':9100'\n", "server.yml:4: metrics_addr: :9100 is open: whoever reaches it can read the metrics, which name every child"},
		{"no output_dir", strings.Replace(sane, "output_dir: DIR/out\n", "", 1), "server.yml:1: output_dir: is missing, so the output of db, web goes where the server's own output goes and is in no `kita logs`: write output_dir: /var/log/kita"},
		{"ipv6 and an address", sane + "ipv6: true\n", "server.yml:4: ipv6: means nothing beside listener_addr, leave it out"},
	} {
		out, stderr := one(w.text)
		tests = append(tests,
			validateTest{w.name, with("server.yml", w.server), "DIR/server.yml", exitOK, out, stderr},
			validateTest{w.name + " strictly", with("server.yml", w.server), "--strict DIR/server.yml", exitFailed, out, stderr})
	}
	tests = append(tests,
		validateTest{"a missing load path", with("server.yml", strings.Replace(sane, "children]", "children, DIR/none]", 1)), "DIR/server.yml", exitOK,
			"3 files checked, no mistakes, 1 warning\n", "kita: warning: load path DIR/none: "},
		validateTest{"names are not missed where a load path is", with("server.yml", strings.Replace(sane, "[DIR/children]", "[no-such]", 1)+"exit_with: nope\n"), "DIR/server.yml", exitOK,
			"1 file checked, no mistakes, 1 warning\n", "kita: warning: load path no-such: no such file or directory; it is relative to the directory that the server is started in"},
		validateTest{"a budget that a file fills", with("server.yml", sane+"disk_budget: 50MB\n"), "DIR/server.yml", exitOK,
			"3 files checked, no mistakes, 1 warning\n", "DIR/server.yml:4: disk_budget: 50 MB are less than the rotate.size of db, web, 100 MB: "},
		validateTest{"an unknown user", with("children/db.yml", "command: x\nuser: no-such-user\n"), "DIR/server.yml", exitOK,
			"3 files checked, no mistakes, 1 warning\n", "kita: warning: DIR/children/db.yml:2: user: this host knows no user no-such-user\n"},
		validateTest{"users and groups as numbers", with("children/db.yml", "command: x\nuser: 54321\ngroup: 54321\n"), "DIR/server.yml", exitOK, allGood, ""},
		validateTest{"an unknown group", with("children/db.yml", "command: x\ngroup: no-such-group\n"), "--strict DIR/children/db.yml", exitFailed,
			"1 file checked, no mistakes, 1 warning\n", "kita: warning: DIR/children/db.yml:2: group: this host knows no group no-such-group\n"},
		validateTest{"no such dir", with("children/db.yml", "command: x\ndir: DIR/none\n"), "DIR/server.yml", exitOK,
			"3 files checked, no mistakes, 1 warning\n", "kita: warning: DIR/children/db.yml:2: dir: DIR/none is no directory that is there\n"},
		validateTest{"no such env_file", with("children/db.yml", "command: x\nenv_file: none.env\n"), "DIR/server.yml", exitOK,
			"3 files checked, no mistakes, 1 warning\n", "kita: warning: DIR/children/db.yml:2: env_file: DIR/children/none.env is no file that is there\n"},
		validateTest{"a bad env_file", with("children/db.yml", "command: x\nenv_file: bad.env\n", "children/bad.env", "A=1\nSECRET hunter2\n"), "DIR/server.yml", exitOK,
			"3 files checked, no mistakes, 1 warning\n", "kita: warning: DIR/children/db.yml:2: env_file: DIR/children/bad.env:2: no '=', write NAME=VALUE\n"},
		validateTest{"no such command", with("children/db.yml", "\ncommand: DIR/none --port 80\n"), "DIR/children/db.yml", exitOK,
			"1 file checked, no mistakes, 1 warning\n", "kita: warning: DIR/children/db.yml:2: command: DIR/none is no program that is there\n"},
		validateTest{"one port for two", with("children/db.yml", "command: x\nmetrics: {port: 9100}\n", "children/web.yml", "command: x\n\nmetrics:\n  port: 9100\n"), "DIR/server.yml", exitOK,
			"3 files checked, no mistakes, 1 warning\n", "kita: warning: DIR/children/web.yml:4: metrics.port: 9100 is also that of db\n"},
	)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "DIR", dir)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"validate"}, strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))...)
			status, out, stderr := kita("", args...)
			stderr = strings.ReplaceAll(stderr, dir, "DIR")
			if status != tt.status || out != tt.out || !strings.Contains(stderr, tt.err) || tt.err == "" && stderr != "" {
				t.Errorf("status %d, want %d, stdout %q, want %q\nstderr, want %q:\n%s", status, tt.status, out, tt.out, tt.err, stderr)
			}
		})
	}
}

// TestValidateAsRoot warns of a port that each user of root's host could use.
func TestValidateAsRoot(t *testing.T) {
	const open = "127.0.0.1:33889 is open to every user of the host: encrypt is off, so where root runs the server"
	dir := t.TempDir()
	file := filepath.Join(dir, "server.yml")
	for _, tt := range []struct {
		name, content string
		uid           int
		want          string // how a warning begins, "" for none
	}{
		{"root", "listener_addr: 127.0.0.1\n", 0, file + ":2: listener_addr: " + open},
		{"root, IPv6", "listener_addr: '::1'\n", 0, file + ":2: listener_addr: [::1]:33889 is open to every user of the host"},
		{"somebody else", "listener_addr: 127.0.0.1\n", 1000, ""},
		{"with encryption", "listener_addr: 127.0.0.1\nencrypt: on\npub_keys_path: [" + dir + "]\n", 0, ""},
		{"with access", "listener_addr: 127.0.0.1\naccess: [{keys: ['*'], verbs: [read]}]\npub_keys_path: [" + dir + "]\n", 0, ""},
		{"everywhere", "listener_addr: 10.0.0.1\n", 0, file + ":2: listener_addr: 10.0.0.1:33889 is open: whoever reaches it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte("loadpaths: ["+dir+"/children]\n"+tt.content), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "children"), 0o755); err != nil {
				t.Fatal(err)
			}
			status, _, stderr := kitaAs(tt.uid, "", "validate", file)
			if want := "kita: warning: " + tt.want; status != exitOK || tt.want == "" && stderr != "" || tt.want != "" && (!strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1) {
				t.Errorf("status %d, %s", status, stderr)
			}
		})
	}
}

func TestValidateAsJSON(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yml")
	if err := os.WriteFile(file, []byte("command: x\nstop: {grace: 5}\nnic: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, stderr := kita("", "validate", "-o", "json", file)
	golden(t, "validate-json", strings.ReplaceAll(out, dir, "DIR"))
	if status != exitFailed || stderr != "" {
		t.Errorf("status %d, %s", status, stderr)
	}
	if err := os.WriteFile(file, []byte("command: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, _ = kita("", "validate", "-o", "json", file)
	var none []finding
	if err := json.Unmarshal([]byte(out), &none); status != exitOK || err != nil || none == nil || len(none) > 0 {
		t.Errorf("status %d, %v, %s", status, err, out)
	}
}

// TestPreCommitHooks reads what pre-commit reads, and runs it as it would.
func TestPreCommitHooks(t *testing.T) {
	text, err := os.ReadFile("../../.pre-commit-hooks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var hooks []struct{ ID, Name, Entry, Language, Files string }
	if err := yaml.Unmarshal(text, &hooks); err != nil || len(hooks) != 2 {
		t.Fatal(hooks, err)
	}
	for _, h := range hooks {
		if h.ID == "" || h.Name == "" || h.Language != "system" && h.Language != "golang" {
			t.Errorf("%+v", h)
		}
		files := regexp.MustCompile(h.Files)
		for file, want := range map[string]bool{
			"server.yml": true, "prod/server.yaml": true, "hosts.yml": true, "children/web.yml": true, "a/children/db.yaml": true,
			"ci.yml": false, "children/a/b.yml": false, "children/web.txt": false, "docs/observer.yml": false,
		} {
			if files.MatchString(file) != want {
				t.Errorf("%s: %s: %t", h.ID, file, !want)
			}
		}
		words := strings.Fields(h.Entry)
		args := append(words[1:], "--server", "../../examples/server.yml", "../../examples/children/db.yml")
		if status, _, stderr := kita("", args...); words[0] != "kita" || status != exitOK {
			t.Errorf("%s: status %d\n%s", h.Entry, status, stderr)
		}
	}
}
