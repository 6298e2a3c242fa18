package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"kita/metrics"
)

const (
	rulesFile     = "../examples/prometheus/kita.rules.yml"
	rulesTest     = "../examples/prometheus/kita.rules.test.yml"
	dashboardFile = "../examples/grafana/kita.json"
)

// promtool runs Prometheus's own checker, which Debian's package prometheus has.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("there is no promtool: .ci/deps installs it")
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = "../examples/prometheus"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusExamplesAreValid(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yml")
	promtool(t, "check", "rules", filepath.Base(rulesFile))
	promtool(t, "test", "rules", filepath.Base(rulesTest))
}

type ruleGroups struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Record, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func unmarshal(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, file)), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestEveryAlertIsTested: promtool runs what is there, and does not miss what is
// not.
func TestEveryAlertIsTested(t *testing.T) {
	var rules ruleGroups
	unmarshal(t, rulesFile, &rules)
	var tests struct {
		Tests []struct {
			Name  string
			Cases []struct {
				Expr    string
				Samples []any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	unmarshal(t, rulesTest, &tests)
	fires, doesNot := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, c := range test.Cases {
			if c.Expr != fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing"}`, test.Name) {
				t.Errorf("%s: the case is about %s", test.Name, c.Expr)
			} else if len(c.Samples) > 0 {
				fires[test.Name] = true
			} else {
				doesNot[test.Name] = true
			}
		}
	}
	alerts := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			alerts++
			if !fires[r.Alert] || !doesNot[r.Alert] {
				t.Errorf("%s: a case in which it fires: %t, one in which it does not: %t", r.Alert, fires[r.Alert], doesNot[r.Alert])
			}
			if !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
				t.Errorf("%s has the severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 40 {
				t.Errorf("%s does not say what it is, or what to do", r.Alert)
			}
		}
	}
	if alerts < 20 {
		t.Errorf("found %d alerts, want all of them", alerts)
	}
	sameMetrics(t, rulesFile, read(t, rulesFile))
	sameMetrics(t, rulesTest, read(t, rulesTest))
}

var metricName = regexp.MustCompile(`\bkita_[a-z_]+\b`)

// sameMetrics wants each kita_… of a text to be a metric.
func sameMetrics(t *testing.T, file, text string) {
	t.Helper()
	known := everyMetric().Names()
	// Of rules, and the rest of the name of a histogram or a label.
	text = regexp.MustCompile(`\b(instance|child):kita_[a-z0-9_:]+|__meta_kita_[a-z]+`).ReplaceAllString(text, "")
	found := metricName.FindAllString(text, -1)
	for _, name := range found {
		if !slices.Contains(known, strings.TrimSuffix(name, "_bucket")) {
			t.Errorf("%s: there is no metric %s", file, name)
		}
	}
	if len(found) == 0 {
		t.Errorf("%s: found no metric", file)
	}
}

type dashboard struct {
	UID           string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type string }
	}
	Panels []dashboardPanel
}

type dashboardPanel struct {
	ID          int
	Type, Title string
	Datasource  struct{ Type, UID string }
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		Expr, RefID string
		Datasource  struct{ UID string }
	}
}

func loadDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboardIsSound checks what Grafana does not say when it is wrong: it
// shows one panel over the other, or none.
func TestDashboardIsSound(t *testing.T) {
	d := loadDashboard(t)
	if d.UID == "" || d.SchemaVersion < 36 || len(d.Panels) < 20 {
		t.Errorf("uid %q, schemaVersion %d, %d panels", d.UID, d.SchemaVersion, len(d.Panels))
	}
	for _, problem := range d.problems() {
		t.Error(problem)
	}
	// What a person would get wrong is seen.
	for name, spoil := range map[string]func(*dashboard){
		"an id twice":        func(d *dashboard) { d.Panels[2].ID = d.Panels[1].ID },
		"one over the other": func(d *dashboard) { d.Panels[2].GridPos = d.Panels[1].GridPos },
		"beyond the edge":    func(d *dashboard) { d.Panels[1].GridPos.X = 22 },
		"another source":     func(d *dashboard) { d.Panels[1].Targets[0].Datasource.UID = "mine" },
		"no such variable":   func(d *dashboard) { d.Panels[1].Targets[0].Expr = "up{job=~\"$jobs\"}" },
	} {
		d := loadDashboard(t)
		if spoil(&d); len(d.problems()) == 0 {
			t.Errorf("%s is not seen", name)
		}
	}
}

func (d dashboard) problems() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	titles := map[int]string{}
	for i, p := range d.Panels {
		if other, twice := titles[p.ID]; twice || p.ID <= 0 {
			add("%s and %s have the id %d", p.Title, other, p.ID)
		}
		titles[p.ID] = p.Title
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			add("%s lies at %+v, the grid is 24 wide", p.Title, g)
		}
		for _, q := range d.Panels[:i] {
			o := q.GridPos
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				add("%s lies over %s", p.Title, q.Title)
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			add("%s, a %s, has %d queries", p.Title, p.Type, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.Datasource.UID != "${datasource}" {
				add("%s: query %s of %s", p.Title, q.RefID, q.Datasource.UID)
			}
			refs[q.RefID] = true
			for _, name := range regexp.MustCompile(`\$\{?([a-z_]+)`).FindAllStringSubmatch(q.Expr, -1) {
				if !slices.Contains(variables, name[1]) && !strings.HasPrefix(name[1], "__") {
					add("%s: there is no variable %s", p.Title, name[1])
				}
			}
		}
	}
	return all
}

// TestDashboardQueries gives every query of the dashboard to promtool, as rules.
func TestDashboardQueries(t *testing.T) {
	sameMetrics(t, dashboardFile, read(t, dashboardFile))
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	for _, p := range loadDashboard(t).Panels {
		for _, q := range p.Targets {
			rules = append(rules, rule{fmt.Sprintf("panel%d:%s", p.ID, q.RefID), fillIn.Replace(q.Expr)})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// fillIn is what Grafana does with the variables.
var fillIn = strings.NewReplacer("$instance", ".*", "$child", ".*", "$__rate_interval", "1m", "$__range", "1h")

// everyMetric has each of them.
func everyMetric() *metrics.Metrics {
	return metrics.New(metrics.Options{
		Children: none{}, Processes: none{}, Outputs: none{},
		QueueDepth: func() int { return 0 }, ConfigErrors: func() int { return 0 }, StoreErr: func() error { return nil },
		EventsLost: func() uint64 { return 0 },
		Keeper:     func() bool { return true }, Connections: func() metrics.Connections { return metrics.Connections{} },
	})
}
