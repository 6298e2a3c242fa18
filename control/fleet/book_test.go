package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

const exampleBook = `hosts:
  web1: 10.0.0.1
  WEB2: {address: 10.0.0.2, port: 33889, key: /keys/ops.pem}
  db1: {address: ssh://root@10.0.0.9}
  db2: {address: "ssh://[::1]:2222", user: admin, key: ~/id}
  "web*": {key: agent:ops, port: 4000, user: nobody}
  cache: {}
  "*1": {key: late.pem, user: ops, port: 5000}
  alias: 10.0.0.1:4000
groups:
  web: [web1, "web*", 10.0.0.77:1234]
  all: ["@web", db1]
  eu-db: [db2]
  eu-web: [web2, "@empty"]
  rest: ["@*"]
  empty: []
`

func book(t *testing.T, text string) *Book {
	t.Helper()
	t.Setenv("HOME", "/home/me")
	hosts, err := spec.ParseHosts("/etc/hosts.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBook(hosts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSelect(t *testing.T) {
	var (
		web1  = Host{Name: "10.0.0.1", Port: 4000, Key: "agent:ops", Label: "web1"}
		web2  = Host{Name: "10.0.0.2", Port: 33889, Key: "/keys/ops.pem", Label: "web2"}
		db1   = Host{Name: "10.0.0.9", SSH: true, User: "root", Key: "/etc/late.pem", Label: "db1"}
		db2   = Host{Name: "::1", Port: 2222, SSH: true, User: "admin", Key: "/home/me/id", Label: "db2"}
		other = Host{Name: "10.0.0.77", Port: 1234}
		cache = Host{Name: "cache", Port: 33889, Label: "cache"}
	)
	tests := []struct {
		name  string
		words []string
		want  []Host
		many  bool
	}{
		{"nothing", nil, []Host{Local}, false},
		{"a host", []string{"web2"}, []Host{web2}, false},
		{"in other letters", []string{"Web2"}, []Host{web2}, false},
		{"settings of patterns, the first that has one", []string{"web1"}, []Host{web1}, false},
		{"a host that is its own address", []string{"cache"}, []Host{cache}, false},
		{"with a port of its own", []string{"web2:1"}, []Host{{Name: "10.0.0.2", Port: 1, Key: "/keys/ops.pem", Label: "web2:1"}}, false},
		{"settings for a host that is not in the file", []string{"web9,x1:7"}, []Host{
			{Name: "web9", Port: 4000, Key: "agent:ops"}, {Name: "x1", Port: 7, Key: "/etc/late.pem"}}, true},
		{"and through ssh", []string{"ssh://x1,ssh://me@x1:22"}, []Host{
			{Name: "x1", SSH: true, User: "ops", Key: "/etc/late.pem"}, {Name: "x1", Port: 22, SSH: true, User: "me", Key: "/etc/late.pem"}}, true},
		{"a host the file says nothing of", []string{"elsewhere"}, []Host{{Name: "elsewhere", Port: 33889}}, false},
		{"a pattern", []string{"web*"}, []Host{web1, web2}, true},
		{"a pattern of one", []string{"web[2-9]"}, []Host{web2}, true},
		{"a group", []string{"@web"}, []Host{web1, web2, other}, true},
		{"a group of a group", []string{"db1", "@all"}, []Host{db1, web1, web2, other}, true},
		{"groups by pattern", []string{"@eu-*"}, []Host{db2, web2}, true},
		{"a group of all groups but itself", []string{"@rest"}, []Host{web1, web2, other, db1, db2}, true},
		{"a group twice, the same host by another name", []string{"@eu-db,@eu-db", "alias 10.0.0.1:4000 web1"}, []Host{db2,
			{Name: "10.0.0.1", Port: 4000, Key: "/etc/late.pem", Label: "alias"}}, true},
		{"a key that only the second name gives", []string{"10.0.0.2,web2"}, []Host{{Name: "10.0.0.2", Port: 33889, Key: "/keys/ops.pem"}}, false},
		{"and the first one of two", []string{"web2,10.0.0.2"}, []Host{web2}, false},
	}
	b := book(t, exampleBook)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := b.Select(tt.words)
			if err != nil || !slices.Equal(got.Hosts, tt.want) || got.Many != tt.many {
				t.Errorf("got %+v, %v\nwant %+v, many %v", got, err, tt.want, tt.many)
			}
		})
	}
}

func TestSelectErrors(t *testing.T) {
	full, missing := book(t, exampleBook), &Book{file: "/x/hosts.yml", missing: true}
	tests := []struct {
		name string
		book *Book
		word string
		want string
	}{
		{"no such group", full, "@nope", `group "@nope": /etc/hosts.yml has no such group, there are @web, @all, @eu-db, @eu-web, @rest, @empty`},
		{"no group fits", full, "@x*", `group "@x*": no group of /etc/hosts.yml fits, there are @web, @all, @eu-db, @eu-web, @rest, @empty`},
		{"a group of nobody", full, "@empty", `group "@empty": it has no hosts in /etc/hosts.yml`},
		{"no host fits", full, "x*", `hosts "x*": no host in /etc/hosts.yml fits`},
		{"a bad pattern", full, "we[b", `hosts "we[b": no host in /etc/hosts.yml fits`},
		{"everything that is wrong", full, "x!,@nope", "host \"x!\": '!' cannot be in a host name\ngroup \"@nope\": /etc"},
		{"no file for a group", missing, "@web", `group "@web": groups stand in /x/hosts.yml, which is not there`},
		{"no file for a pattern", missing, "web?", `hosts "web?": a pattern is for the hosts in /x/hosts.yml, which is not there`},
		{"no groups", book(t, "hosts: {a: b}"), "@web", `group "@web": /etc/hosts.yml has no groups`},
		{"nothing is read", new(Book), "@web", `group "@web": groups need a hosts.yml, which is not read here`},
		{"an address is no pattern", full, "[::1", `host "[::1": the ] is missing`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.book.Select([]string{tt.word}); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, %v\nwant an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestBookErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not a mapping", "- a", `f:1: yaml: the file is a list, write lines of KEY: VALUE, as in hosts: {web1: 10.0.0.1}`},
		{"unknown key", "host: {}", `f:1: host: unknown key, did you mean hosts?`},
		{"unknown key of a host", "hosts:\n  a: {adress: b}", `f:2: hosts.a.adress: unknown key, did you mean address?`},
		{"a host twice", "hosts:\n  a: b\n  a: c", `f:3: hosts.a: is given twice, first in line 2, leave one out`},
		{"a host twice in other letters", "hosts:\n  a: b\n  A: c", `f:3: hosts.A: is given twice, in small letters and in large ones, leave one out`},
		{"a key twice", "hosts:\n  a: {key: b, key: c}", `f:2: hosts.a.key: is given twice, first in line 2, leave one out`},
		{"a list for a host", "hosts:\n  a: [b]", `f:2: hosts.a: is a list where text or a mapping belongs, write a: 10.0.0.1`},
		{"nothing for a host", "hosts:\n  a:", `f:2: hosts.a: has no value, write a: 10.0.0.1 or leave the key out`},
		{"bad port", "hosts:\n  a: {port: 70000}", `f:2: hosts.a.port: "70000" is no whole number from 1 to 65535, write port: 33889`},
		{"two ports", "hosts:\n  a:\n    address: b:1\n    port: 2", `f:4: hosts.a.port: is given twice, here and in the address, leave one out`},
		{"bad address", "hosts:\n  a:\n    key: k\n    address: b!", `f:4: hosts.a.address: "b!": '!' cannot be in a host name`},
		{"bad name", "hosts:\n  a b: c", `f:2: hosts."a b": ' ' cannot be in a host name; write a name like web1`},
		{"an address for a name", "hosts:\n  'a:1': c", `f:2: hosts."a:1": is an address where a name belongs, write web1: a:1`},
		{"user without ssh", "hosts:\n  a: {address: b, user: root}", `f:2: hosts.a.user: is the login of an sshd, which this host is not asked through: write address: ssh://root@b, or leave it out`},
		{"two users", "hosts:\n  a: {address: ssh://x@b, user: root}", `f:2: hosts.a.user: is given twice, here and in the address, leave one out`},
		{"bad user", "hosts:\n  a: {address: ssh://b, user: 'a b'}", `f:2: hosts.a.user: "a b" is no name of a user`},
		{"an address of a pattern", "hosts:\n  a*: 10.0.0.1", `f:2: hosts.a*: has an address, which would be that of every host that fits: write it for each host, and here key, user or port`},
		{"a bad pattern", "hosts:\n  'a[': {key: k}", `f:2: hosts.a[: is no pattern: a [ has no ], write web-* or web[1-9]`},
		{"the home of another", "hosts:\n  a: {key: ~you/k}", `f:2: hosts.a.key: "~you/k": only ~/ is known, write key: ~/keys/ops.pem`},
		{"text for a group", "groups:\n  g: a", `f:2: groups.g: is text where a list belongs, write g: [a]`},
		{"bad name of a group", "groups:\n  '@g': [a]", `f:2: groups.@g: "@g" is no name of a group, which has letters, digits, - _ and . only`},
		{"unknown group", "groups:\n  g:\n  - a\n  - '@h'", `f:4: groups.g: "@h": no such group is in this file, write one of its own or leave it out`},
		{"pattern without a host", "groups:\n  g: [a*]", `f:2: groups.g: "a*": no host under hosts fits, write one that does or leave it out`},
		{"bad pattern in a group", "groups:\n  g: ['a[']", `f:2: groups.g: "a[" is no pattern: a [ has no ], write web-* or web[1-9]`},
		{"bad member", "groups:\n  g: [a!]", `f:2: groups.g: host "a!": '!' cannot be in a host name`},
		{"two members in one", "groups:\n  g: ['a b']", `f:2: groups.g: "a b" is more than one member, write each as an item of its own`},
		{"a circle", "groups:\n  top: ['@a']\n  a: ['@b']\n  b: [x, '@a']", `f:3: groups.a: contains itself: @a, @b, @a; leave one of them out`},
		{"a group of itself", "groups:\n  a: ['@a']", `f:2: groups.a: contains itself: @a, @a; leave one of them out`},
		{"a circle by pattern", "groups:\n  a: ['@b*']\n  b1: ['@a']", `f:2: groups.a: contains itself: @a, @b1, @a; leave one of them out`},
		{"all that is wrong, by line", "groups:\n  g: [a!]\nhosts:\n  b: c!\n  d: {address: e!}", "f:2: groups.g: host \"a!\": '!' cannot be in a host name\nf:4: hosts.b: \"c!\": '!' cannot be in a host name\nf:5: hosts.d.address: \"e!\": '!' cannot be in a host name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hosts, err := spec.ParseHosts("f", []byte(tt.text))
			if err == nil {
				_, err = newBook(hosts)
			}
			var errs spec.FileErrors
			if !errors.As(err, &errs) || err.Error() != tt.want {
				t.Errorf("got %T\n%v\nwant\n%s", err, err, tt.want)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kita", "hosts.yml")
	b, err := Open(file)
	if err != nil || !b.Missing() {
		t.Fatalf("a file that is not there: %+v, %v", b, err)
	}
	write := func(mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("hosts: {a: {address: b, key: k.pem}}\n"), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(0o644)
	link := filepath.Join(dir, "link.yml")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for path, key := range map[string]string{file: filepath.Join(dir, "kita", "k.pem"), link: filepath.Join(dir, "k.pem")} {
		b, err = Open(path)
		if err != nil || b.Missing() {
			t.Fatal(b, err)
		}
		want := []Host{{Name: "b", Port: 33889, Key: key, Label: "a"}}
		if got, err := b.Select([]string{"a"}); err != nil || !reflect.DeepEqual(got.Hosts, want) {
			t.Errorf("got %+v, %v, want %+v", got.Hosts, err, want)
		}
	}
	if got, want := b.Names(), []string{"a"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}

	write(0o664)
	for _, path := range []string{file, link} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "others can write "+file+": chmod go-w "+file) {
			t.Errorf("a file that others can write: %v", err)
		}
	}
	write(0o600)
	if err := os.Chmod(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "others can write "+filepath.Dir(file)) {
		t.Errorf("a directory that others can write: %v", err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
}

// TestGroupsOfGroupsAreQuick: unfolded one by one they would be 2^40.
func TestGroupsOfGroupsAreQuick(t *testing.T) {
	var text strings.Builder
	text.WriteString("groups:\n  g0: [a]\n")
	for i := range 40 {
		fmt.Fprintf(&text, "  g%d: ['@g%d', '@g%d']\n", i+1, i, i)
	}
	got, err := book(t, text.String()).Select([]string{"@g40"})
	if err != nil || len(got.Hosts) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzBook(f *testing.F) {
	for _, seed := range []string{exampleBook, "groups: {a: ['@a']}", "hosts: {'[::1]': '[::1]:1', 'x[': ~}", "hosts: &a {b: *a}"} {
		f.Add([]byte(seed), "@all")
	}
	f.Fuzz(func(t *testing.T, data []byte, word string) {
		hosts, err := spec.ParseHosts("f", data)
		var b *Book
		if err == nil {
			b, err = newBook(hosts)
		}
		var errs spec.FileErrors
		if err != nil {
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("%q: %T %v", data, err, err)
			}
			return
		}
		for _, words := range [][]string{{word}, {"@*"}, {"*"}, b.Names()} {
			selection, err := b.Select(words)
			if err != nil {
				continue
			}
			for _, h := range selection.Hosts {
				if h.Name == "" || h.Port == 0 && !h.SSH || h.User != "" && !h.SSH {
					t.Errorf("%q: %q is %+v", data, words, h)
				}
			}
		}
	})
}
