package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// parsed is the child of a file web.yml with this text.
func parsed(t *testing.T, text string) *Child {
	t.Helper()
	c, err := ParseChild("/srv", "/srv/web.yml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDiffNamesEachFieldWithItsClass(t *testing.T) {
	tests := []struct{ name, before, now, want string }{
		{"nothing", "command: a", "command: a", ""},
		{"the spelling of the command", "command: a  b", "command: [a, b]", ""},
		{"the order of env", "command: a\nenv: [A=1, B=2]", "command: a\nenv: [B=2, A=1]", ""},
		{"command", "command: a 1", "command: a\nargs: ['2 3']", "command: a 1 → a '2 3' restart"},
		{"env", "command: a\nenv: {PORT: 80, GONE: x, EMPTY: x}", "command: a\nenv: {PORT: 81, NEW: y, EMPTY: ''}",
			"env.EMPTY: x →  restart\nenv.GONE: x → none restart\nenv.NEW: none → y restart\nenv.PORT: 80 → 81 restart"},
		{"dir and user", "command: a", "command: a\ndir: sub\nuser: www\ngroup: web\numask: 022\nnice: 5\nenv_file: e",
			"dir: /srv → /srv/sub restart\nenv_file: none → /srv/e restart\nuser: none → www restart\ngroup: none → web restart\numask: none → 022 restart\nnice: none → 5 restart"},
		{"limits", "command: a\nlimits: {nofile: 10, memory: 1GiB, cpu: 0.5}", "command: a\nlimits: {nofile: {soft: 10, hard: 20}, core: unlimited, tasks: 7, cpu: 2}",
			"limits.memory: 1GiB → none restart\nlimits.cpu: 0.5 → 2 restart\nlimits.tasks: none → 7 restart\nlimits.core: none → unlimited restart\nlimits.nofile: 10 → soft 10, hard 20 restart"},
		{"stop", "command: a", "command: a\nstop: {signal: INT, grace: 20s}", "stop.signal: SIGTERM → SIGINT live\nstop.grace: 10s → 20s live"},
		{"restart", "command: a", "command: a\nrestart: {policy: always, backoff: {initial: 1s, max: 1m, factor: 3}, limit: {starts: 5, within: 1m}, success: [2, TERM]}",
			"restart.policy: never → always live\nrestart.backoff.initial: 500ms → 1s live\nrestart.backoff.max: 30s → 1m0s live\nrestart.backoff.factor: 2 → 3 live\nrestart.limit: none → 5 within 1m0s live\nrestart.success: none → 2, SIGTERM live"},
		{"repeat", "command: a\nrepeat: {seconds: 60}", "command: a", "repeat: restart after 1m0s → none next-start"},
		{"hooks", "command: a\nhooks: [{prehook: start db}, {posthook: start c}]", "command: a\nhooks: [{prehook: trystart db}]",
			"hooks.prehook: start db → trystart db next-start\nhooks.posthook: start c → none live"},
		{"output", "command: a\noutput: [{stdout: a.log, mode: append}]", "command: a\noutput: [{stdout: b.log}, {stderr: e.log}]",
			"output.stdout: a.log → b.log restart\noutput.stdout.mode: append → create next-start\noutput.stderr: none → e.log restart"},
		{"pumped output", "command: a\noutput: [{stdout: a.log}]", "command: a\noutput: [{stdout: a.log, format: json, on_full: block}]",
			"output.stdout.format: none → json restart\noutput.stdout.timestamps: false → true restart\noutput.stdout.prefix: false → true restart\noutput.stdout.on_full: none → block restart"},
		{"rotation", "command: a\noutput: [{stdout: a.log, rotate: {size: 1MB, keep: 2}}]", "command: a\noutput: [{stdout: a.log, rotate: {size: 2MB, keep: 3, every: 1h, compress: none}}]",
			"output.stdout.rotate.size: 1MB → 2MB live\noutput.stdout.rotate.every: none → 1h0m0s live\noutput.stdout.rotate.keep: 2 → 3 live\noutput.stdout.rotate.compress: zstd → none live"},
		{"no rotation", "command: a\noutput: [{stdout: a.log, rotate: {size: 1MB, keep: 2}}]", "command: a\noutput: [{stdout: a.log}]",
			"output.stdout.rotate: size 1MB, keep 2 → none live"},
		{"metrics", "command: a", "command: a\nmetrics: {port: 9100}", "metrics: none → port 9100, path /metrics live"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, now := parsed(t, tt.before), parsed(t, tt.now)
			if got := diffText(Diff(before, now)); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func diffText(all []Difference) string {
	var lines []string
	for _, d := range all {
		shown := func(s *string) string {
			if s == nil {
				return "none"
			}
			return *s
		}
		lines = append(lines, fmt.Sprintf("%s: %s → %s %s", d.Field, shown(d.Old), shown(d.New), d.Class))
	}
	return strings.Join(lines, "\n")
}

// TestEveryFieldOfAChildIsCompared sets one field after the other, at any depth, to
// another value. A new field fails it until children has its class.
func TestEveryFieldOfAChildIsCompared(t *testing.T) {
	apart := []string{"Name", "File", "LoadPath", "CommandLine", "Hash"}
	full := func() *Child {
		c := &Child{}
		fill(reflect.ValueOf(c).Elem(), 1)
		c.Hash = ""
		return c
	}
	seen := 0
	for path := range leafPaths(reflect.ValueOf(full()).Elem(), nil) {
		before, now := full(), full()
		leaf := reflect.ValueOf(now).Elem()
		names := []string{}
		for _, at := range path {
			for leaf.Kind() == reflect.Pointer {
				leaf = leaf.Elem()
			}
			if leaf.Kind() == reflect.Slice {
				leaf = leaf.Index(at)
				continue
			}
			names = append(names, leaf.Type().Field(at).Name)
			leaf = leaf.Field(at)
		}
		fill(leaf, 2)
		if name := strings.Join(names, "."); slices.Contains(apart, name) {
			if d := Diff(before, now); len(d) > 0 {
				t.Errorf("%s is a difference: %v", name, d)
			}
		} else {
			seen++
			checkDiff(t, name, before, now)
			// And what is missing.
			if leaf.Kind() == reflect.Pointer || leaf.Kind() == reflect.Slice {
				leaf.SetZero()
				checkDiff(t, name+" none", before, now)
				checkDiff(t, "none "+name, now, before)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d fields were compared", seen)
	}
}

func checkDiff(t *testing.T, name string, before, now *Child) {
	t.Helper()
	all := Diff(before, now)
	if len(all) == 0 {
		t.Errorf("%s: no difference", name)
	}
	stale := false
	for _, d := range all {
		switch d.Class {
		case DiffRestart, DiffNextStart:
			stale = true
		case DiffLive:
		default:
			t.Errorf("%s: %s has the class %q", name, d.Field, d.Class)
		}
		if d.Field == "" || !d.Masked && reflect.DeepEqual(d.Old, d.New) {
			t.Errorf("%s: nothing is seen of %+v", name, d)
		}
	}
	if Stale(before, now) != stale {
		t.Errorf("%s: stale is %v, the differences are %v", name, !stale, all)
	}
}

// leafPaths has the path to each field that has none below it.
func leafPaths(v reflect.Value, path []int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		for v.Kind() == reflect.Pointer {
			// The pointer itself can be missing.
			if len(path) > 0 && !yield(path) {
				return
			}
			v = v.Elem()
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				for p := range leafPaths(v.Field(i), append(slices.Clone(path), i)) {
					if !yield(p) {
						return
					}
				}
			}
		case reflect.Slice:
			if !yield(path) {
				return
			}
			for p := range leafPaths(v.Index(0), append(slices.Clone(path), 0)) {
				if !yield(p) {
					return
				}
			}
		default:
			yield(path)
		}
	}
}

// fill sets everything in v to a value that depends on n.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.String:
		v.SetString(fmt.Sprintf("v%d", n))
	case reflect.Bool:
		v.SetBool(n == 2)
	case reflect.Float64:
		v.SetFloat(float64(n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n) * int64(time.Second))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	default:
		panic("what is a " + v.Type().String())
	}
}

func TestStaleTrustsTheHash(t *testing.T) {
	before, now := parsed(t, "command: a"), parsed(t, "command: a")
	if before.Hash == "" || Stale(before, now) {
		t.Error("two of one hash are stale")
	}
	// One that another version of kita has hashed.
	before.Hash = "other"
	if Stale(before, now) {
		t.Error("the hash alone makes it stale")
	}
	if !Stale(parsed(t, "command: a"), parsed(t, "command: b")) {
		t.Error("another command is not stale")
	}
}

func BenchmarkStale(b *testing.B) {
	before, now := &Child{Command: []string{"a"}, Hash: "1"}, &Child{Command: []string{"a"}, Hash: "2"}
	b.ReportAllocs()
	for b.Loop() {
		Stale(before, now)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	tests := []struct{ text, want string }{
		{"plain words", "plain words"},
		{"http://host:80/path", "http://host:80/path"},
		{"postgres://app:hunter2@db/x", "postgres://app:***@db/x"},
		{"redis://:hunter2@db", "redis://:***@db"},
		{"postgres://app:hun@ter/2@db/x", "postgres://app:***@db/x"},
		{"app:hunter2@tcp(db:3306)/x", "app:***@tcp(db:3306)/x"},
		{"https://hunter2@github.com/x", "https://***@github.com/x"},
		{"ssh://ops@host", "ssh://ops@host"},
		{"http://h/?a=1&api_key=hunter2&b=2", "http://h/?a=1&api_key=***&b=2"},
		{"host=db password=hunter2 user=x", "host=db password=*** user=x"},
		{"password='hun ter2' user=x", "password=*** user=x"},
		{"password='a'hunter2 x", "password=*** x"},
		{`{"user":"x", "password":"hun\"ter2"}`, `{"user":"x", "password":***`},
		{"Authorization: Basic hunter2 x", "Authorization: ***"},
		{"X-Auth-Token: a, hunter2\nHost: x", "X-Auth-Token: ***\nHost: x"},
		{"curl with Bearer hunter2 here", "curl with Bearer *** here"},
		{"-----BEGIN PRIVATE KEY-----\nhunter2", "***"},
		{"mysql -u root -phunter2 -h db | sort -p2", "mysql -u root -p*** -h db | sort -p2"},
		{"/usr/bin/mysqldump '-phunter2' x; mariadb-admin -phunter2", "/usr/bin/mysqldump '-p***' x; mariadb-admin -p***"},
		{"mysql -phunter2;a -port x -h db", "mysql -p*** -port x -h db"},
		{"mysql -p'hun ter2' x", "mysql -p*** x"},
		{"mysql -p x; ssh -p22", "mysql -p x; ssh -p22"},
		{"sshpass -p hunter2 ssh -p 22 host", "sshpass -p *** ssh -p 22 host"},
		{"sshpass -phunter2 ssh -p 22 host", "sshpass -p*** ssh -p 22 host"},
		{"exec sshpass -v -p 'hun ter2' ssh host", "exec sshpass -v -p *** ssh host"},
		{"sshpass -e ssh -p 22 host", "sshpass -e ssh -p 22 host"},
		{"sshpass -f /etc/pw ssh -p 22 host", "sshpass -f /etc/pw ssh -p 22 host"},
		{"curl -u ops:hunter2 http://h/", "curl -u ops:*** http://h/"},
		{"curl -sSu 'ops:hunter2' http://h/", "curl -sSu 'ops:***' http://h/"},
		{"curl --user=ops:hunter2 http://h/", "curl --user=ops:*** http://h/"},
		{"curl -s --proxy-user ops:hunter2 http://h/; sort -u a:b", "curl -s --proxy-user ops:*** http://h/; sort -u a:b"},
		{"curl -u ops http://h:80/", "curl -u ops http://h:80/"},
		{"curl -XPUT http://h:80/ -HUser-Agent:x", "curl -XPUT http://h:80/ -HUser-Agent:x"},
		{`curl -H "Authorization: Bearer hunter2" h`, `curl -H "Authorization: ***`},
		{"redis-cli -h db -a hunter2 ping", "redis-cli -h db -a *** ping"},
		{"run --password-file /etc/pw --ssl-key /etc/tls/web.key", "run --password-file /etc/pw --ssl-key /etc/tls/web.key"},
		{"--password-file=/etc/pw TOKEN_PATH=/run/t KEYFILE=/k", "--password-file=/etc/pw TOKEN_PATH=/run/t KEYFILE=/k"},
		{"--tls-key=/etc/tls/web.key --api-key=/hunter2", "--tls-key=/etc/tls/web.key --api-key=***"},
		{"opts=-Dpassword=hunter2", "opts=-Dpassword=***"},
		{"a=b c=d e:f", "a=b c=d e:f"},
	}
	for _, tt := range tests {
		got, hidden := Masked(tt.text)
		if got != tt.want || hidden != (tt.want != tt.text) {
			t.Errorf("%q: %q, %v; want %q", tt.text, got, hidden, tt.want)
		}
	}
	for name, want := range map[string]bool{
		"PASSWORD": true, "db_password": true, "GITHUB_TOKEN": true, "AWS_SECRET_ACCESS_KEY": true, "API_KEY": true,
		"GOOGLE_CREDENTIALS": true, "BASIC_AUTH": true, "DB_PASS": true, "SENTRY_DSN": true, "MYSQL_PWD": true, "--password": true,
		"DBPASS": true, "PGPASS": true, "dbPass": true, "userPwd": true, "MYSQLPWD": true, "smtpPW": true, "jwtIssuer": true, "db.userPass": true, "HTTPPass": true,
		"JWTIssuer": true, "DB_PASS2": true, "--dbPass": true, "ADMINPW": true,
		"COMPASS": false, "PASSING": false, "Pinned": false, "compassUrl": false, "spin": false,
		"PORT": false, "PATH": false, "PWD": false, "BYPASS": false, "PASSENGER": false, "HOME": false, "PASSWORD_FILE": false, "--password-file": false, "keyPath": false, "SECRETS_DIR": false, "OLDPWD": false, "SESSION": false,
	} {
		if IsSecretName(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	for _, command := range [][]string{
		{"a", "--password=hunter2,x"}, {"a", "--password", "hunter2"}, {"a", "-token", "-hunter2"}, {"a", "--db", "x://u:hunter2@h"},
		{"sh", "-c", "PGPASSWORD=hunter2 psql"},
		{"/usr/bin/mysql", "-u", "x", "-phunter2", "db"}, {"mariadb-dump", "-phunter2"}, {"nice", "mysqladmin", "-phunter2"}, {"sh", "-c", "exec mysql -phunter2 x"},
		{"sshpass", "-p", "hunter2", "ssh", "h"}, {"sshpass", "-v", "-phunter2", "ssh", "h"}, {"nice", "/usr/bin/sshpass", "-P", "x", "-p", "hunter2", "ssh"},
		{"curl", "-u", "ops:hunter2", "h"}, {"curl", "-uops:hunter2", "h"}, {"curl", "-fsSu", "ops:hunter2"}, {"curl", "--user=ops:hunter2"}, {"curl", "--proxy-user", "ops:hunter2"},
		{"curl", "-H", "Authorization: Bearer hunter2"}, {"curl", "--oauth2-bearer", "hunter2"}, {"redis-cli", "-a", "hunter2"}, {"a", "--api-key", "/hunter2"},
		{"sh", "-c", "sshpass -p hunter2 ssh h"}, {"a", "https://ops:hunter2@h/"},
	} {
		c := &Child{Command: command}
		if line := c.MaskedCommand(); strings.Contains(line, "hunter2") || !strings.Contains(line, Mask) {
			t.Errorf("%q is shown as %s", command, line)
		}
	}
	c := &Child{Command: []string{"a", "--password", "--port", "80"}}
	if line := c.MaskedCommand(); line != "a --password --port 80" {
		t.Errorf("an option is masked: %s", line)
	}
	for _, line := range []string{
		"sshpass -e ssh -p 22 h", "sshpass -f /etc/pw ssh -p 22 h", "curl -u ops http://h:80/", "curl -XPUT http://h:80/", "curl -sX PUT -HUser-Agent:x h", "sort -u a:b", "redis-cli -h db",
		"a --password-file /etc/pw", "a --password-file=/etc/pw", "a --ssl-key /etc/tls/web.key", "a --key=./web.pem", "ssh -i /root/.ssh/id_ed25519 h",
	} {
		if got := (&Child{Command: strings.Fields(line)}).MaskedCommand(); got != line {
			t.Errorf("what is no secret is masked: %s", got)
		}
	}
	c = &Child{Command: []string{"ssh", "-p22", "mysql", "-p"}}
	if line := c.MaskedCommand(); line != "ssh -p22 mysql -p" {
		t.Errorf("a port is masked: %s", line)
	}
}

func TestThatASecretChangedIsSeen(t *testing.T) {
	before, now := parsed(t, "command: a --token x1\nenv: {TOKEN: x1, URL: 'db://u:x1@h'}"), parsed(t, "command: a --token x2\nenv: {TOKEN: x2, URL: 'db://u:x2@h'}")
	all := Diff(before, now)
	if len(all) != 3 {
		t.Fatalf("%v", all)
	}
	for _, d := range all {
		if !d.Masked || *d.Old != *d.New {
			t.Errorf("%s: %s → %s, masked %v", d.Field, *d.Old, *d.New, d.Masked)
		}
	}
}

// FuzzNoSecretIsShown puts a secret where secrets stand, with anything around it.
func FuzzNoSecretIsShown(f *testing.F) {
	f.Add("DB", "x", "host")
	f.Add("a=b", "p@ss/word", "' x")
	f.Add("\"", "a\\\"b", "&c=d")
	f.Fuzz(func(t *testing.T, around, secret, after string) {
		// It has to be told from what is shown, and one word.
		secret = strings.Map(func(r rune) rune {
			if r <= ' ' || r == '"' || r == '\'' || r == '\\' || r == '&' || r > '~' {
				return -1
			}
			return r
		}, secret)
		const core = "hUnTeR2"
		secret = core + secret
		if strings.Contains(around+after, core) || strings.Contains(around, "\n") {
			return
		}
		quoted, _ := json.Marshal(secret)
		for _, before := range []*Child{
			{Env: []EnvVar{{Name: around + "_PASSWORD", Value: secret + after}}},
			{Env: []EnvVar{{Name: "URL", Value: "db://user:" + secret + "@host/" + after}}},
			{Env: []EnvVar{{Name: "CONF", Value: around + " password=" + secret + " " + after}}},
			{Env: []EnvVar{{Name: "CONF", Value: `{"token":` + string(quoted) + `}`}}},
			{Env: []EnvVar{{Name: "HEADER", Value: "Authorization: Bearer " + secret + after}}},
			{Command: []string{"a", "--password=" + secret + after}},
			{Command: []string{"a", "--" + "token", secret + after}},
			{Command: []string{"sh", "-c", "exec x --api-key=" + secret + " " + after}},
			{EnvFile: "/" + "token=" + secret},
		} {
			before.Name = "web"
			text, err := json.Marshal(Diff(before, &Child{}))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), core) || strings.Contains(before.MaskedCommand(), core) {
				t.Errorf("%+v: %s", before, text)
			}
		}
	})
}
