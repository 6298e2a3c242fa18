package reconciler

import (
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

func TestListenerWarnings(t *testing.T) {
	keys := []string{"/srv/keys"}
	access := spec.Access{{Keys: []string{"*"}, Rights: []spec.Right{spec.Read}, Children: []string{"*"}}}
	here := []string{"unix:/run/kita/kita.sock", "tcp:127.0.0.1:33889", "metrics:[::1]:9100"}
	tests := []struct {
		name      string
		encrypt   bool
		server    spec.Server
		listeners []string
		want      []string // what each line begins with
	}{
		{"only here", false, spec.Server{}, here, nil},
		{"everywhere", false, spec.Server{}, []string{"tcp:0.0.0.0:33889"}, []string{"0.0.0.0:33889 is open: encrypt is off"}},
		{"everywhere, IPv6", false, spec.Server{}, []string{"tcp:[::]:33889"}, []string{"[::]:33889 is open: encrypt is off"}},
		{"everywhere, with keys", true, spec.Server{PubKeysPath: keys}, []string{"tcp:0.0.0.0:33889"}, nil},
		{"no keys", true, spec.Server{}, here, []string{"encrypt is on and pub_keys_path names no directory: nobody can use TCP"}},
		{"metrics for everybody", true, spec.Server{PubKeysPath: keys}, []string{"tcp:10.0.0.1:33889", "metrics:10.0.0.1:9100"},
			[]string{"10.0.0.1:9100 is open: whoever reaches this address can read the metrics"}},
		{"access without encryption", false, spec.Server{PubKeysPath: keys, Access: access}, []string{"tcp:0.0.0.0:33889"},
			[]string{"access is set and encrypt is off: over TCP only commands with KEY"}},
		{"access without keys", false, spec.Server{Access: access}, here,
			[]string{"access is set and pub_keys_path names no directory: nobody can use TCP"}},
		{"access for nobody", true, spec.Server{PubKeysPath: keys, Access: spec.Access{}}, here,
			[]string{"access is empty: no key may do anything"}},
		{"access with encryption", true, spec.Server{PubKeysPath: keys, Access: access}, here, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ListenerWarnings(tt.encrypt, &tt.server, tt.listeners)
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if ordinary := StartWarnings(1000, tt.encrypt, &tt.server, tt.listeners); !slices.Equal(ordinary, got) {
				t.Errorf("at start %q, want %q", ordinary, got)
			}
		})
	}
}

// TestRootsPortOnLoopbackIsWarnedOfAtStart covers what is no problem of `info`.
func TestRootsPortOnLoopbackIsWarnedOfAtStart(t *testing.T) {
	here := []string{"unix:/run/kita/kita.sock", "tcp:127.0.0.1:33889", "metrics:[::1]:9100"}
	tests := []struct {
		name      string
		uid       int
		encrypt   bool
		access    spec.Access
		listeners []string
		want      []string // what each line begins with
	}{
		{"here", 0, false, nil, here, []string{"127.0.0.1:33889 is open to every user of this host: encrypt is off and the server is root's"}},
		{"here, IPv6", 0, false, nil, []string{"tcp:[::1]:33889"}, []string{"[::1]:33889 is open to every user of this host"}},
		{"of an ordinary user", 1000, false, nil, here, nil},
		{"no port", 0, false, nil, here[:1], nil},
		{"everywhere", 0, false, nil, []string{"tcp:0.0.0.0:33889"}, []string{"0.0.0.0:33889 is open: encrypt is off"}},
		{"encrypted", 0, true, nil, here, nil},
		{"with access", 0, false, spec.Access{{Keys: []string{"*"}}}, here, []string{"access is set and encrypt is off"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := StartWarnings(tt.uid, tt.encrypt, &spec.Server{PubKeysPath: []string{"/srv/keys"}, Access: tt.access}, tt.listeners)
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
