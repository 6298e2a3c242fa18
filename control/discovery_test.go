package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"kita/control/controltest"
	"kita/spec"
)

// The children that are listed are those that ought to answer.
func TestExpectedMetrics(t *testing.T) {
	file := func(m *spec.Metrics) *spec.Child { return &spec.Child{Name: "web", Metrics: m} }
	m, former := &spec.Metrics{Port: 80, Path: "/m"}, &spec.Metrics{Port: 81, Path: "/old"}
	wanted, unwanted := spec.Desired{Run: spec.Running}, spec.Desired{Run: spec.Stopped}
	live := &spec.Process{PID: 7, Config: file(former)}
	tests := []struct {
		name string
		view spec.View
		want *spec.Metrics
	}{
		{"runs", spec.View{Spec: file(m), Desired: wanted, Status: spec.Status{Phase: spec.PhaseRunning, Process: live}}, m},
		{"starts", spec.View{Spec: file(m), Desired: wanted, Status: spec.Status{Phase: spec.PhaseStarting}}, m},
		{"waits for its next start", spec.View{Spec: file(m), Desired: wanted, Status: spec.Status{Phase: spec.PhaseBackOff}}, m},
		{"failed", spec.View{Spec: file(m), Desired: wanted, Status: spec.Status{Phase: spec.PhaseFailed}}, m},
		{"its file is broken", spec.View{Desired: wanted, FileError: "no", Status: spec.Status{Phase: spec.PhaseRunning, Process: live}}, former},
		{"has done its work", spec.View{Spec: file(m), Desired: wanted, Status: spec.Status{Phase: spec.PhaseExited}}, nil},
		{"stopped", spec.View{Spec: file(m), Desired: unwanted, Status: spec.Status{Phase: spec.PhaseStopped}}, nil},
		{"is being stopped", spec.View{Spec: file(m), Desired: unwanted, Status: spec.Status{Phase: spec.PhaseStopping, Process: live}}, nil},
		{"has none", spec.View{Spec: file(nil), Desired: wanted, Status: spec.Status{Phase: spec.PhaseRunning, Process: live}}, nil},
		{"is gone", spec.View{Desired: wanted, Status: spec.Status{Phase: spec.PhaseFailed}}, nil},
	}
	for _, tt := range tests {
		if got := expectedMetrics(tt.view); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Addresses are by the name that the asker used.
func TestPlacesOfDiscovery(t *testing.T) {
	tcp, unix, ssh := transport{network: viaTCP}, transport{network: viaUnix}, transport{network: viaSSH}
	tests := []struct {
		name, asked  string
		over         transport
		metrics      int
		encrypt      bool
		host, server string
	}{
		{"an address", "10.0.0.1:33889", tcp, 0, false, "10.0.0.1", "10.0.0.1:33889"},
		{"a name", "web1.example.com:9101", tcp, 9101, true, "web1.example.com", "web1.example.com:9101"},
		{"IPv6", "[fe80::1]:33889", tcp, 0, false, "fe80::1", "[fe80::1]:33889"},
		{"IPv6 without a port", "[fe80::1]", tcp, 0, false, "fe80::1", "[fe80::1]:80"},
		{"no port: that of HTTP", "web1", tcp, 0, false, "web1", "web1:80"},
		{"no host", "", tcp, 0, false, "127.0.0.1", "127.0.0.1:1"},
		{"unix socket", "localhost", unix, 0, false, "localhost", "localhost:4000"},
		{"unix socket, metrics_addr", "web1", unix, 9101, true, "web1", "web1:9101"},
		{"key", "web1:33889", ssh, 9101, true, "web1", "web1:9101"},
		{"key, no metrics that could be scraped", "web1:33889", ssh, 0, true, "web1", ""},
		{"quotes", `a"b:1`, tcp, 0, false, `a"b`, `a"b:1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := duplexPair()
			defer client.Close()
			defer server.Close()
			r := httptest.NewRequest(http.MethodGet, discoveryPath, nil)
			r.Host = tt.asked
			r = r.WithContext(context.WithValue(r.Context(), connKey{}, &conn{Conn: server, transport: tt.over}))
			// What server.yml has by now is not listened on before the next start.
			config := func() *spec.Server {
				return &spec.Server{MetricsAddr: "127.0.0.1:1", Listen: netip.MustParseAddrPort("127.0.0.1:2")}
			}
			host, where := placesOf(r, Options{Encrypt: tt.encrypt, Config: config, Port: 4000, MetricsPort: tt.metrics})
			if host != tt.host || where != tt.server {
				t.Errorf("%s and %s, want %s and %s", host, where, tt.host, tt.server)
			}
		})
	}
}

func TestDiscovery(t *testing.T) {
	web := controltest.Child("web")
	web.Metrics = &spec.Metrics{Port: 9100, Path: "/web/metrics"}
	svc := controltest.New(web, controltest.Child("db"), func() *spec.Child {
		c := controltest.Child("odd\xff")
		c.Metrics = &spec.Metrics{Port: 1, Path: "/metrics"}
		return c
	}())
	svc.SetRunning("web", 7)
	svc.SetRunning("db", 8)
	svc.SetRunning("odd\xff", 9)
	r := request(http.MethodGet, discoveryPath, "")
	r.Host = "[::1]:33889"
	client, server := duplexPair()
	defer client.Close()
	defer server.Close()
	r = r.WithContext(context.WithValue(r.Context(), connKey{}, &conn{Conn: server, transport: transport{network: viaTCP, crowd: newCrowd(crowdCaps{})}, asker: asker{via: viaTCP}}))
	w := httptest.NewRecorder()
	metricsOnly(Options{Service: svc, Metrics: http.NotFoundHandler(), Config: spec.DefaultServer}.withDefaults()).ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("it is %s", got)
	}
	var got []TargetGroup
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	want := []TargetGroup{
		{[]string{"[::1]:33889"}, map[string]string{labelPath: "/metrics", labelRole: "server", labelHost: "::1", labelServer: "[::1]:33889"}},
		{[]string{"[::1]:1"}, map[string]string{labelPath: "/metrics", labelRole: "child", labelHost: "::1", labelServer: "[::1]:33889", labelChild: `odd\xff`}},
		{[]string{"[::1]:9100"}, map[string]string{labelPath: "/web/metrics", labelRole: "child", labelHost: "::1", labelServer: "[::1]:33889", labelChild: "web"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}

	// Nothing to scrape is an empty list, not null.
	none := httptest.NewRecorder()
	metricsOnly(Options{Service: controltest.New(), Config: spec.DefaultServer}.withDefaults()).ServeHTTP(none, r)
	if strings.TrimSpace(none.Body.String()) != "[]" {
		t.Errorf("without anything: %s", none.Body)
	}
}
