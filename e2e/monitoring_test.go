package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"kita/spec"
)

// servesMetrics is a child that serves one metric of its own, on the address of
// its instance.
const servesMetrics = `command:
  - python3
  - -c
  - |
    import http.server, os
    class Metrics(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/own" else 404)
            self.end_headers()
            self.wfile.write(b"web_requests_total 7\n")
        def log_message(self, *_): pass
    http.server.HTTPServer((os.environ["ADDR"], 9100), Metrics).serve_forever()
metrics: {port: 9100, path: /own}
`

// TestPrometheusExamples runs a real Prometheus with the files of
// examples/prometheus: it finds a server by /v1/sd and another one by a file, scrapes
// both and a child, and alerts fire for what they are for. Each query of the
// dashboard is asked.
func TestPrometheusExamples(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("there is no prometheus: .ci/deps installs it")
	}
	dir, err := os.MkdirTemp(world.root, "p")
	if err != nil {
		t.Fatal(err)
	}
	open := newServer(t, "output_dir: log\n", map[string]string{
		"web": servesMetrics,
		"bad": "command: sh -c 'exit 3'\n",
		"db":  "command: sh -c 'echo up; exec sleep 1000'\nmetrics: {port: 9999}\n",
	})
	secretAddr := newInstance(dir).addr
	secret := newServer(t, "encrypt: on\nmetrics_addr: "+secretAddr+":9101\n", nil)
	open.do(t, spec.VerbStart, "web")
	open.mustAwait(t, "web", isLive)

	// A host of a fleet: its answer in a file.
	if err := os.Mkdir(dir+"/kita.d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/kita.d/secret.json", httpGet(t, "http://"+secretAddr+":9101/v1/sd"), 0o644); err != nil {
		t.Fatal(err)
	}
	examples := filepath.Join(world.module, "examples/prometheus")
	config := faster(t, examples+"/prometheus.yml", dir, "http://127.0.0.1:33889/v1/sd", "http://"+open.tcp()+"/v1/sd")
	faster(t, examples+"/kita.rules.yml", dir, "", "")
	p := startPrometheus(t, program, dir, config, secretAddr+":9090")

	p.await(t, fmt.Sprintf(`up{job="kita",host=%q,instance=%q}`, open.addr, open.tcp()), "1")
	p.await(t, fmt.Sprintf(`up{job="kita",host=%q,instance="%[1]s:9101"}`, secretAddr), "1")
	p.await(t, fmt.Sprintf(`web_requests_total{job="kita-children",child="web",host=%q,instance="%[1]s:9100"}`, open.addr), "7")
	p.await(t, `up * on(host, child) group_left() kita_child_wanted`, "1") // as its comment says
	p.await(t, `count(up)`, "3")                                           // db is not wanted

	// A child that fails.
	if _, err := open.client().Do(t.Context(), spec.Command{Verb: spec.VerbStart, Child: "bad"}); err != nil {
		t.Logf("start bad: %v", err)
	}
	p.await(t, `ALERTS{alertname="KitaChildFailed",alertstate="firing",child="bad",severity="page"}`, "1")
	if alerts := string(httpGet(t, "http://"+p.addr+"/api/v1/alerts")); !strings.Contains(alerts, "See `kita why bad`; `kita start bad` starts it.") {
		t.Errorf("the alert does not say what to do:\n%s", alerts)
	}
	// One whose metrics are gone with it: it is still expected.
	web := open.mustAwait(t, "web", isLive)
	if err := syscall.Kill(web.Status.Process.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.await(t, `ALERTS{alertname="KitaChildMetricsDown",alertstate="firing",child="web",job="kita-children"}`, "1")
	// One that is stopped is not.
	open.do(t, spec.VerbStart, "web")
	open.do(t, spec.VerbStop, "web")
	p.await(t, `absent(up{job="kita-children"})`, "1")
	p.await(t, `absent(ALERTS{alertname="KitaChildMetricsDown",alertstate="firing"})`, "1")
	p.await(t, `absent(ALERTS{alertname=~"KitaDown|KitaMissing|KitaKeeperGone|KitaConfigErrors|KitaStateNotSaved"})`, "1")

	open.do(t, spec.VerbStart, "web")
	open.do(t, spec.VerbStart, "db")
	checkDashboard(t, p)

	if _, err := secret.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await(t, fmt.Sprintf(`ALERTS{alertname="KitaDown",alertstate="firing",host=%q}`, secretAddr), "1")
}

// faster copies a file of the examples, with one text replaced by another and with
// every wait but those within expressions cut to a quarter of a second.
func faster(t *testing.T, file, dir, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %s", file, from)
	}
	fast := regexp.MustCompile(`\b((?:scrape|evaluation|refresh)_interval|for): \d+[smh]\b`).ReplaceAllString(string(text), "$1: 250ms")
	if fast == string(text) {
		t.Fatalf("%s waits for nothing", file)
	}
	fast = strings.ReplaceAll(fast, "global:\n", "global:\n  scrape_timeout: 250ms\n")
	if from != "" {
		fast = strings.ReplaceAll(fast, from, to)
	}
	copied := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(copied, []byte(fast), 0o644); err != nil {
		t.Fatal(err)
	}
	return copied
}

// quietQueries are those of the dashboard without data where all is well: they
// are about what is wrong, or seldom.
var quietQueries = regexp.MustCompile(`> 0$|> 0\)$`)

// checkDashboard asks each query of the dashboard.
func checkDashboard(t *testing.T, p *prometheus) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(world.module, "examples/grafana/kita.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	fillIn := strings.NewReplacer("$instance", ".*", "$child", ".*", "$__rate_interval", "1m", "$__range", "1h")
	withData := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expr := fillIn.Replace(target.Expr)
			if quietQueries.MatchString(expr) {
				if _, err := p.query(t.Context(), expr); err != nil {
					t.Errorf("%s: %s: %v", panel.Title, expr, err)
				}
				continue
			}
			withData++
			p.awaitAny(t, expr)
		}
	}
	if withData < 25 {
		t.Errorf("%d queries have data, want most of them", withData)
	}
}

// awaitAny waits until a query has data.
func (p *prometheus) awaitAny(t *testing.T, query string) {
	t.Helper()
	p.await(t, `count(`+query+`) > bool 0`, "1")
}

func httpGet(t *testing.T, url string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", url, response.Status, text)
	}
	return text
}
