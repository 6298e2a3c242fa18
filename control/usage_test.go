package control

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

// Of all children each asker gets those that it may read; naming another one is
// refused.
func TestUsageIsOfWhatMayBeRead(t *testing.T) {
	tests := []struct {
		who  asker
		body string
		want string
	}{
		{local, "", "a web"},
		{ops, "{}", "a web"},
		{ci, "{}", "web"},
		{ci, `{"children":["web","b"]}`, "!of this child|for this child"},
		{ci, `{"children":["web"]}`, "web"},
		{ci, `{"children":["nothing-of-this-name"]}`, "!for this child"},
		{starter, "{}", "!gives it operate"},
		{plain, "{}", "!a key is needed"},
		{local, `{"children":["web","a","web","nothing"]}`, "a web"},
	}
	for _, tt := range tests {
		t.Run(tt.who.by()+" "+tt.body, func(t *testing.T) {
			g := newGated(t, rulesOfTests(), nil)
			g.svc.SetRunning("web", 81)
			status, body := g.postAs(tt.who, "/v1/usage", tt.body)
			if why, refused := strings.CutPrefix(tt.want, "!"); refused {
				said := slices.ContainsFunc(strings.Split(why, "|"), func(text string) bool { return strings.Contains(body, text) })
				if status != 403 || !said {
					t.Errorf("%d: %s", status, body)
				}
				return
			}
			var answer usageAnswer
			if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
				t.Fatalf("%d: %s", status, body)
			}
			var names []string
			for _, u := range answer.Children {
				names = append(names, u.Name)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// It is asked every second: what is refused is written down, and nothing else.
func TestAuditOfUsage(t *testing.T) {
	g := newGated(t, rulesOfTests(), nil)
	g.postAs(ops, "/v1/usage", "{}")
	g.postAs(ci, "/v1/usage", `{"children":["a"]}`)
	g.postAs(ops, "/v1/usage", `[]`)
	want := []string{"ssh ci-1 10.0.0.7:2: usage a: forbidden", "ssh ops 10.0.0.7:2: usage : bad-request"}
	if got := g.lines(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestClientUsage(t *testing.T) {
	svc := testService()
	s := newTCPServer(t, Options{Service: svc})
	c := Dial(Target{Unix: s.socket})
	got, err := c.Usage(t.Context(), nil)
	if err != nil || len(got) != 1 || got[0].Name != "a" || got[0].MemoryBytes != 80<<20 {
		t.Errorf("got %+v, %v", got, err)
	}
	// Of nobody is not of everybody.
	if got, err := c.Usage(t.Context(), []string{}); err != nil || len(got) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	var refusal *spec.Refusal
	if _, err := c.Usage(t.Context(), []string{spec.All}); !errors.As(err, &refusal) || refusal.Code != spec.BadRequest {
		t.Errorf("%v", err)
	}
}
