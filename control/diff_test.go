package control

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"kita/control/controltest"
	"kita/spec"
)

// gatedAs opens connections of one asker.
type gatedAs struct {
	g *gated
	a asker
}

func (o gatedAs) Open(context.Context) (net.Conn, error) { return o.g.dialAs(o.a), nil }
func (o gatedAs) String() string                         { return "gated" }

func TestWhoMaySeeDifferences(t *testing.T) {
	tests := []struct {
		who      asker
		children string
		want     string // the children, or words of the refusal
	}{
		{local, "all", "a b web web2"},
		{ops, "all", "a b web web2"},
		{reader, "web a web", "a web"},
		{ci, "all", "web web2"},
		{ci, "web", "web"},
		{ci, "web a", `key "ci-1" may not diff a`},
		{starter, "all", `key "starter" may not diff`},
		{plain, "all", "access is set in server.yml"},
		{local, "web all", "all stands alone"},
		{local, "nobody", "nobody: no such child"},
	}
	for _, tt := range tests {
		t.Run(tt.who.by()+" "+tt.children, func(t *testing.T) {
			g := newGated(t, rulesOfTests(), func(o *Options) {
				o.Service = controltest.New(controltest.Child("a"), controltest.Child("b"), controltest.Child("web"), controltest.Child("web2"))
			})
			diffs, err := Dial(Target{Through: gatedAs{g, tt.who}}).Diff(t.Context(), strings.Fields(tt.children))
			var refusal *spec.Refusal
			if err != nil {
				if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, tt.want) {
					t.Errorf("%v, want %s", err, tt.want)
				}
				return
			}
			var names []string
			for _, d := range diffs {
				names = append(names, d.Child)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Without the right to read all, nobody hears for whom a command for all was.
func TestThePartsOfACommandForAllAreForReaders(t *testing.T) {
	svc := controltest.New(controltest.Child("a"))
	svc.DoFunc = func(_ context.Context, c spec.Command) (spec.Outcome, error) {
		return spec.Outcome{Verb: c.Verb, Child: c.Child, Children: []spec.Part{{Child: "a", Generation: 1}}, LeftStopped: []string{"b"}, LeftRunning: []string{"c"}}, nil
	}
	g := newGated(t, rulesOfTests(), func(o *Options) { o.Service = svc })
	for _, tt := range []struct {
		who  asker
		want int
	}{{ops, 1}, {starter, 0}} {
		out, err := Dial(Target{Through: gatedAs{g, tt.who}}).Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: spec.All})
		if err != nil || len(out.Children) != tt.want || len(out.LeftStopped) != tt.want || len(out.LeftRunning) != tt.want {
			t.Errorf("%s: %+v, %v", tt.who.key, out, err)
		}
	}
}

// An older server says that it does not know the member; a client must not start
// anew what was to be left alone.
func TestAServerThatDoesNotKnowIfChanged(t *testing.T) {
	svc := controltest.New(controltest.Child("a"))
	svc.DoFunc = func(_ context.Context, c spec.Command) (spec.Outcome, error) {
		return spec.Outcome{}, spec.Refuse(spec.BadRequest, c.Verb, c.Child, `trystart a: the body: json: unknown field "if_changed"`)
	}
	g := newGated(t, nil, func(o *Options) { o.Service = svc })
	_, err := Dial(Target{Through: gatedAs{g, local}}).Do(t.Context(), spec.Command{Verb: spec.VerbTrystart, Child: "a", IfChanged: true})
	if err == nil || !strings.Contains(err.Error(), "this server is too old to tell whether it has changed, leave out --if-changed") {
		t.Errorf("%v", err)
	}
}

func TestASyncedWatchTellsTheTime(t *testing.T) {
	g := newGated(t, nil, nil)
	for change, err := range Dial(Target{Through: gatedAs{g, local}}).Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Type == spec.Synced {
			if change.Now.IsZero() {
				t.Error("it does not")
			}
			return
		}
	}
}
