package control

import (
	"fmt"
	"net"
	"slices"
	"testing"
)

// crowdScript is a crowd whose connections have names.
type crowdScript struct {
	*crowd
	names map[*conn]string
	conns map[string]*conn
}

func newCrowdScript(caps crowdCaps) *crowdScript {
	return &crowdScript{crowd: newCrowd(caps), names: map[*conn]string{}, conns: map[string]*conn{}}
}

// come is "" if nobody gives way, "refused", or who does.
func (s *crowdScript) come(name, ip string) string {
	c := &conn{}
	s.names[c], s.conns[name] = name, c
	givesWay, ok := s.enter(c, &net.TCPAddr{IP: net.ParseIP(ip), Port: 7})
	if !ok {
		return "refused"
	}
	if givesWay == nil {
		return ""
	}
	s.crowd.leave(givesWay)
	return s.names[givesWay]
}

func TestTheOldestGivesWay(t *testing.T) {
	s := newCrowdScript(crowdCaps{waiting: 4, waitingPerAddress: 3, perAddress: 5})
	for i, step := range []struct{ name, ip, want string }{
		{"a1", "10.0.0.1", ""},
		{"b1", "10.0.0.2", ""},
		{"a2", "10.0.0.1", ""},
		{"a3", "::ffff:10.0.0.1", ""},
		{"a4", "10.0.0.1", "a1"}, // of its own address
		{"c1", "10.0.0.3", "a2"}, // of the address that has most
		{"c2", "10.0.0.3", "a3"}, // a, of two: it is the fullest, or c is not yet
	} {
		got := s.come(step.name, step.ip)
		if i == 6 {
			// a, b and c have one or two now.
			if !slices.Contains([]string{"a3", "c1", "b1"}, got) {
				t.Errorf("%s: %q gives way", step.name, got)
			}
			continue
		}
		if got != step.want {
			t.Errorf("%s: %q gives way, want %q", step.name, got, step.want)
		}
	}
}

func TestWhoHasShownWhatItWantsStays(t *testing.T) {
	s := newCrowdScript(crowdCaps{waiting: 10, waitingPerAddress: 2, perAddress: 4})
	s.come("a", "10.0.0.1")
	s.settle(s.conns["a"])
	s.settle(s.conns["a"])
	s.come("b", "10.0.0.1")
	s.come("c", "10.0.0.1")
	if got := s.come("d", "10.0.0.1"); got != "b" {
		t.Errorf("%q gives way", got)
	}
	s.settle(s.conns["c"])
	if got := s.come("e", "10.0.0.1"); got != "" {
		t.Errorf("%q gives way", got)
	}
	if got := s.come("f", "10.0.0.1"); got != "refused" {
		t.Errorf("beyond the cap of the address: %q", got)
	}
	if got := s.come("g", "10.0.0.2"); got != "" {
		t.Errorf("another address: %q", got)
	}
	for _, c := range s.conns {
		s.leave(c)
		s.leave(c)
	}
	if len(s.places) != 0 || len(s.from) != 0 || s.waiting != 0 {
		t.Errorf("%d places, %d addresses, %d waiting are left", len(s.places), len(s.from), s.waiting)
	}
}

func TestAddressesCountBySubscriber(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		prefix := func(ip string) string { return fmt.Sprint(prefixOf(&net.TCPAddr{IP: net.ParseIP(ip)})) }
		if got := prefix(c.a) == prefix(c.b); got != c.same {
			t.Errorf("%s and %s: %s and %s", c.a, c.b, prefix(c.a), prefix(c.b))
		}
	}
}
