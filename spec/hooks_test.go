package spec

import (
	"fmt"
	"strings"
	"testing"
)

// hooked reads "a: pre start b, post stop c" lines into children.
func hooked(t *testing.T, text string) func(string) (*Child, bool) {
	t.Helper()
	children := map[string]*Child{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		name, hooks, found := strings.Cut(strings.TrimSpace(line), ":")
		if !found {
			t.Fatalf("no name in %q", line)
		}
		c := &Child{Name: name, File: "/lp/" + name + ".yml"}
		for _, h := range strings.Split(hooks, ",") {
			words := strings.Fields(h)
			if len(words) == 0 {
				continue
			}
			hook := &Hook{Verb: Verb(words[1]), Child: words[2]}
			if words[0] == "pre" {
				c.Prehook = hook
			} else {
				c.Posthook = hook
			}
		}
		children[name] = c
	}
	return func(name string) (*Child, bool) { c, ok := children[name]; return c, ok }
}

func TestCheckHooks(t *testing.T) {
	tests := []struct {
		name, children string
		of             string // default a
		want           string // part of the error; empty means none
	}{
		{name: "no hooks", children: "a:"},
		{name: "a chain", children: "a: pre start b\nb: pre start c\nc:"},
		{name: "no such child", children: "b:", want: "a has no file"},
		{name: "prehook of itself", children: "a: pre start a", want: "the prehooks of a go in a circle: a -> a (/lp/a.yml: prehook start a)"},
		{name: "circle of two", children: "a: pre start b\nb: pre start a", want: "circle: a -> b -> a (/lp/b.yml: prehook start a)"},
		{name: "circle below", children: "a: pre start b\nb: pre start c\nc: pre start b", want: "circle: a -> b -> c -> b"},
		{name: "chain stops its own member", children: "a: pre start b\nb: pre stop a", want: "circle: a -> b -> a"},
		{name: "stop deeper in the chain", children: "a: pre start b\nb: pre start c\nc: pre stop b", want: "circle: a -> b -> c -> b"},
		{name: "missing prehook", children: "a: pre start b", want: `the prehook of a, "start b", names b, which has no file in the load paths (/lp/a.yml)`},
		{name: "missing deeper", children: "a: pre start b\nb: pre restart c", want: `the prehook of b, "restart c", names c`},
		{name: "missing posthook", children: "a: post start b", want: `the posthook of a, "start b", names b`},
		{name: "missing posthook of another", children: "a: post start b\nb: post start c"},

		{name: "a stop stops its helper", children: "a: pre start b, post stop b\nb:"},
		{name: "fail-over", children: "a: post start b\nb: post start a"},
		{name: "mutual exclusion with fail-over", children: "a: pre stop b\nb: post start a"},
		{name: "stops in a ring", children: "a: post stop b\nb: post stop c\nc: post stop a"},
		{name: "dependants stop with their database", children: "a: pre start b\nb: post stop a"},
		{name: "trystart that leads nowhere", children: "a: post trystart b\nb:"},
		{name: "restart in a ring", children: "a: post restart b\nb: post restart a"},

		{name: "posthook starts itself", children: "a: post start a", want: "a could not be stopped: stop a -> start a (/lp/a.yml)"},
		{name: "posthook trystarts itself", children: "a: post trystart a", want: "never settle: trystart a -> trystart a"},
		{name: "starts b, which stops a, seen from a", children: "a: post start b\nb: post stop a", want: "b could not be stopped: stop b -> stop a -> start b"},
		{name: "starts b, which stops a, seen from b", of: "b", children: "a: post start b\nb: post stop a", want: "b could not be stopped"},
		{name: "trystarts in a ring", children: "a: post trystart b\nb: post trystart a", want: "the hooks of a never settle: trystart a -> trystart b -> trystart a (/lp/a.yml, /lp/b.yml)"},
		{name: "a ring of three", children: "a: post trystart b\nb: post trystart c\nc: post trystart a", want: "never settle"},
		{name: "seen from outside", children: "a: post stop b\nb: post trystart c\nc: post trystart b", want: "never settle: trystart b -> trystart c -> trystart b"},
		{name: "prehook and posthook call one another", children: "a: pre trystart b\nb: post start a", want: "never settle"},
		{name: "posthook starts what needs it", children: "a: pre start b\nb: post start a", want: "b could not be stopped: stop b -> start a -> start b"},
		{name: "stop and trystart in a ring", children: "a: post trystart b\nb: post stop a", want: "b could not be stopped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			of := tt.of
			if of == "" {
				of = "a"
			}
			err := CheckHooks(of, hooked(t, tt.children))
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestPrehookChainIsDeepestFirst(t *testing.T) {
	lookup := hooked(t, "a: pre start b\nb: pre trystart c\nc: pre stop d\nd:")
	chain, err := prehookChain("a", lookup)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(chain), "[stop d trystart c start b]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A chain as long as there are children must neither overflow a stack nor take
// for ever.
func TestCheckHooksOfALongChain(t *testing.T) {
	const n = 10_000
	children := map[string]*Child{}
	for i := range n {
		c := &Child{Name: fmt.Sprint("c", i), File: "f"}
		if i+1 < n {
			c.Prehook = &Hook{VerbStart, fmt.Sprint("c", i+1)}
			c.Posthook = &Hook{VerbTrystart, fmt.Sprint("c", i+1)}
		}
		children[c.Name] = c
	}
	lookup := func(name string) (*Child, bool) { c, ok := children[name]; return c, ok }
	if err := CheckHooks("c0", lookup); err != nil {
		t.Errorf("refused: %v", err)
	}
	children[fmt.Sprint("c", n-1)].Prehook = &Hook{VerbStart, "c0"}
	if err := CheckHooks("c0", lookup); err == nil || len(err.Error()) > 1000 {
		t.Errorf("a circle of %d: %v", n, err)
	}
}
