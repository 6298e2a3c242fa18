package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

func TestExplain(t *testing.T) {
	for _, field := range []string{"", "child", "restart", "restart.backoff.max", "output", "output_dir", "server.access", "server.access.verbs", "hosts", "limits.nofile.soft"} {
		args := append([]string{"explain"}, strings.Fields(field)...)
		status, out, stderr := kita("", args...)
		if status != exitOK || stderr != "" {
			t.Errorf("%s: status %d\n%s", field, status, stderr)
		}
		golden(t, strings.TrimSuffix("explain-"+strings.ReplaceAll(field, ".", "-"), "-"), out)
		for line := range strings.SplitSeq(out, "\n") {
			if len(line) > 80 && strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(line, "docs/") {
				t.Errorf("%s: a line of %d characters: %s", field, len(line), line)
			}
		}
	}
	status, out, _ := kita("", "explain", "output_dir", "-o", "json")
	if status != exitOK {
		t.Errorf("status %d", status)
	}
	golden(t, "explain-json", out)
}

// Each field can be asked for, and shows those below it.
func TestExplainHasEveryField(t *testing.T) {
	seen := 0
	for _, f := range spec.AllFields() {
		seen++
		status, out, stderr := kita("", "explain", f.Name(), "-o", "json")
		var got []explanation
		if err := json.Unmarshal([]byte(out), &got); status != exitOK || err != nil || len(got) == 0 {
			t.Fatalf("%s: status %d, %v\n%s%s", f.Name(), status, err, out, stderr)
		}
		e := got[0]
		if e.Field != f.Path || e.File != f.File.Name || e.Type == "" || e.Description == "" || e.Example == "" || len(e.Fields) != len(f.Fields()) {
			t.Errorf("%s: %+v", f.Name(), e)
		}
		if strings.Contains(e.Description+e.Default, "](") {
			t.Errorf("%s: a link is left: %s %s", f.Name(), e.Description, e.Default)
		}
	}
	if seen < 200 {
		t.Errorf("only %d fields", seen)
	}
}

func TestExplainSuggests(t *testing.T) {
	for field, want := range map[string]string{
		"restrat":        "did you mean restart?",
		"stop.grase":     "did you mean stop.grace?",
		"server.acess":   "did you mean server.access?",
		"grace":          "did you mean stop.grace?",
		"backoff.max":    "did you mean restart.backoff.max?",
		"limits.nofiles": "did you mean limits.nofile?",
		"Restart":        "did you mean restart?",
		"nonsense":       "see `kita explain`",
		"..":             "see `kita explain`",
		"a\nb":           "see `kita explain`",
	} {
		status, out, stderr := kita("", "explain", field)
		if status != exitFailed || out != "" || !strings.HasSuffix(stderr, ", "+want+"\n") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q%q, want %s", field, status, out, stderr, want)
		}
	}
	for _, args := range [][]string{{"a", "b"}, {"-o", "yaml"}, {"restart", "-o", "text"}} {
		if status, _, _ := kita("", append([]string{"explain"}, args...)...); status != exitUsage {
			t.Errorf("%q: status %d", args, status)
		}
	}
}

func TestExplainCompletes(t *testing.T) {
	for word, want := range map[string][]string{
		"rest":         {"restart"},
		"restart":      {"restart", "restart.policy", "restart.backoff", "restart.limit", "restart.success"},
		"restart.b":    {"restart.backoff"},
		"ser":          {"server"},
		"server.acc":   {"server.access"},
		"metrics.":     {"metrics.port", "metrics.path"},
		"output_dir":   {"output_dir"},
		"nothing.like": nil,
	} {
		offers, _ := completeFields(nil, nil, word)
		var got []string
		for _, offer := range offers {
			name, about, _ := strings.Cut(offer, "\t")
			if got = append(got, name); about == "" {
				t.Errorf("%s: nothing about %s", word, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

func TestSchemaCommand(t *testing.T) {
	for _, f := range spec.FileTypes() {
		status, out, stderr := kita("", "schema", f.Name)
		var schema struct {
			Schema     string         `json:"$schema"`
			Properties map[string]any `json:"properties"`
		}
		if err := json.Unmarshal([]byte(out), &schema); status != exitOK || err != nil || !strings.Contains(schema.Schema, "2020-12") || len(schema.Properties) != len(f.Keys) {
			t.Errorf("%s: status %d, %v, %d keys\n%s", f.Name, status, err, len(schema.Properties), stderr)
		}
	}
	for args, want := range map[string]string{
		"":             "kita: the schema of which file? give one of server, child, hosts\n",
		"web":          "kita: \"web\" is no kind of file, give server, child, hosts\n",
		"server child": "kita: the schema of which file? give one of server, child, hosts\n",
	} {
		status, out, stderr := kita("", append([]string{"schema"}, strings.Fields(args)...)...)
		if status != exitUsage || out != "" || stderr != want {
			t.Errorf("%q: status %d, %q%q", args, status, out, stderr)
		}
	}
}
