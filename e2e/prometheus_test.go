package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

// TestPrometheusScrapesBothListeners runs a real Prometheus: its API has the
// value of kita_child_up from the API's port and from metrics_addr.
func TestPrometheusScrapesBothListeners(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		const missing = "the program prometheus is not there, Debian's package prometheus has it"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir, err := os.MkdirTemp(world.root, "p")
	if err != nil {
		t.Fatal(err)
	}
	addr := newInstance(dir).addr // for its two listeners besides the server's
	in := newServer(t, "metrics_addr: "+addr+":9101\n", map[string]string{
		"up":   "command: /bin/sleep 1000\n",
		"down": "command: /bin/sleep 1000\n",
	})
	in.do(t, spec.VerbStart, "up")
	in.mustAwait(t, "up", isLive)

	config := dir + "/prometheus.yml"
	scrape := fmt.Sprintf(`global: {scrape_interval: 250ms, scrape_timeout: 250ms}
scrape_configs:
  - {job_name: port, static_configs: [{targets: [%q]}]}
  - {job_name: metrics_addr, static_configs: [{targets: [%q]}]}
`, in.tcp(), addr+":9101")
	if err := os.WriteFile(config, []byte(scrape), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startPrometheus(t, program, dir, config, addr+":9090")
	for _, job := range []string{"port", "metrics_addr"} {
		p.await(t, fmt.Sprintf(`kita_child_up{job=%q,child="up"}`, job), "1")
		p.await(t, fmt.Sprintf(`kita_child_up{job=%q,child="down"}`, job), "0")
		p.await(t, fmt.Sprintf(`up{job=%q}`, job), "1")
	}
	// The scraped value follows the child.
	in.do(t, spec.VerbStop, "up")
	p.await(t, `kita_child_up{job="port",child="up"}`, "0")
	p.await(t, `sum(kita_child_starts_total{job="port",child="up"})`, "1")
}

type prometheus struct {
	addr string
	log  string
	done chan struct{}
}

// startPrometheus runs a server that keeps everything below dir, and ends it
// with the test.
func startPrometheus(t *testing.T, program, dir, config, addr string) *prometheus {
	t.Helper()
	p := &prometheus{addr: addr, log: dir + "/prometheus.log", done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+addr)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-p.done
		}
	})
	return p
}

// await asks Prometheus until an instant query has exactly one sample, with that
// value.
func (p *prometheus) await(t *testing.T, query, want string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		got, err := p.query(t.Context(), query)
		if err == nil && len(got) == 1 && got[0] == want {
			return
		}
		select {
		case <-tick.C:
		case <-p.done:
			log, _ := os.ReadFile(p.log)
			t.Fatalf("prometheus has ended:\n%s", log)
		case <-timeout:
			log, _ := os.ReadFile(p.log)
			t.Fatalf("%s is %q after %v (%v), want %s\n%s", query, got, patience, err, want, log)
		}
	}
}

// query returns the values of an instant query.
func (p *prometheus) query(ctx context.Context, query string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	address := (&url.URL{Scheme: "http", Host: p.addr, Path: "/api/v1/query", RawQuery: url.Values{"query": {query}}.Encode()}).String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: new(net.Dialer).DialContext}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	// https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
	var answer struct {
		Status string
		Data   struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	var values []string
	for _, result := range answer.Data.Result {
		values = append(values, fmt.Sprint(result.Value[1]))
	}
	return values, nil
}
