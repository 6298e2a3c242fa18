package spec

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

const goodHosts = `hosts:
  web1: 10.0.0.1
  web2: {address: ssh://root@10.0.0.2, port: 22,
    user: ops, key: ~/keys/ops.pem}
  "web*": &all {key: agent:ops}
  cache: {}
groups:
  web: [web1, "web*"]
  all:
    - "@web"
    - 10.0.0.9:1234
  none: []
`

func TestParseHosts(t *testing.T) {
	got, err := ParseHosts("/h.yml", []byte(goodHosts))
	want := &Hosts{
		File: "/h.yml",
		Hosts: []HostEntry{
			{Name: Setting{"web1", 2, "hosts.web1"}, Address: Setting{"10.0.0.1", 2, "hosts.web1"}},
			{Name: Setting{"web2", 3, "hosts.web2"}, Address: Setting{"ssh://root@10.0.0.2", 3, "hosts.web2.address"},
				Port: 22, PortAt: Setting{"22", 3, "hosts.web2.port"},
				User: Setting{"ops", 4, "hosts.web2.user"}, Key: Setting{"~/keys/ops.pem", 4, "hosts.web2.key"}},
			{Name: Setting{"web*", 5, "hosts.web*"}, Key: Setting{"agent:ops", 5, "hosts.web*.key"}},
			{Name: Setting{"cache", 6, "hosts.cache"}},
		},
		Groups: []HostGroup{
			{Name: Setting{"web", 8, "groups.web"}, Members: []Setting{{"web1", 8, "groups.web"}, {"web*", 8, "groups.web"}}},
			{Name: Setting{"all", 9, "groups.all"}, Members: []Setting{{"@web", 10, "groups.all"}, {"10.0.0.9:1234", 11, "groups.all"}}},
			{Name: Setting{"none", 12, "groups.none"}},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := ParseHosts("/h.yml", nil); err != nil || !reflect.DeepEqual(got, &Hosts{File: "/h.yml"}) {
		t.Errorf("an empty file: %+v, %v", got, err)
	}
}

func checkHosts(t *testing.T, data []byte) {
	t.Helper()
	h, err := ParseHosts("/h.yml", data)
	if err != nil {
		if h != nil {
			t.Fatalf("hosts and error: %v", err)
		}
		checkErrors(t, err, data)
		return
	}
	for _, e := range h.Hosts {
		if e.Name.Line < 1 || (e.Port == 0) != (e.PortAt.Line == 0) || (e.Key.Text == "") != (e.Key.Line == 0) {
			t.Fatalf("%q: %+v", data, e)
		}
	}
}

func TestMutatedHostsNeverPanic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 8))
	for range 3000 {
		checkHosts(t, mutated(rnd, goodHosts))
	}
}

func FuzzParseHosts(f *testing.F) {
	f.Add([]byte(goodHosts))
	f.Add([]byte("hosts: {a: *a}"))
	f.Fuzz(checkHosts)
}
