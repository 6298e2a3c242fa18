package control

import (
	"reflect"
	"strings"
	"testing"

	"kita/spec"
)

func TestParseWords(t *testing.T) {
	tests := []struct {
		line string
		want Words
	}{
		{"start web", Words{Verb: spec.VerbStart, Child: "web"}},
		{"TryStart web on 10.0.0.1", Words{Verb: spec.VerbTrystart, Child: "web", Hosts: []string{"10.0.0.1"}}},
		{"stop all with /k/ops.pem On a,b on c", Words{Verb: spec.VerbStop, Child: "all", Hosts: []string{"a,b", "c"}, Key: "/k/ops.pem"}},
		{"check", Words{Verb: spec.VerbCheck}},
		{"Check web", Words{Verb: spec.VerbCheck, Child: "web"}},
		{"trystart all on a", Words{Verb: spec.VerbTrystart, Child: "all", Hosts: []string{"a"}}},
		{"check all", Words{Verb: spec.VerbCheck, Child: "all"}},
		{"InFo With k", Words{Verb: spec.VerbInfo, Key: "k"}},
		{"kill on h", Words{Verb: spec.VerbKill, Hosts: []string{"h"}}},
		{"-h", Words{Verb: spec.VerbHelp}},
		{"help start", Words{Verb: spec.VerbHelp, Child: "start"}},
		{"start with with k", Words{Verb: spec.VerbStart, Child: "with", Key: "k"}},
	}
	for _, tt := range tests {
		got, err := ParseWords(strings.Fields(tt.line))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v, want %+v", tt.line, got, err, tt.want)
		}
	}
}

func TestParseWordsErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "which command?"},
		{"no command", []string{"launch", "web"}, `"launch" is no command`},
		{"another spelling", []string{"STOP", "web"}, `"STOP" is no command`},
		{"no child", []string{"start"}, "which child do you want to start?"},
		{"no child but hosts", []string{"stop", "on", "h"}, "which child do you want to stop?"},
		{"start kill", []string{"start", "kill"}, `"kill" is a command`},
		{"a command as the child", []string{"start", "Stop"}, `"Stop" is a command`},
		{"a command as the child of check", []string{"check", "info"}, `"info" is a command`},
		{"kill of one child", []string{"kill", "web"}, "did you mean `stop web`?"},
		{"two keys", []string{"stop", "web", "with", "a", "with", "b"}, "`with` is given twice"},
		{"empty key", []string{"stop", "web", "with", ""}, "the word after it is empty"},
		{"empty host", []string{"stop", "web", "on", ""}, "the word after it is empty"},
		{"no object", []string{"stop", "web", "on"}, `"on" is the last word`},
		{"a word too many", []string{"stop", "web", "db"}, `stop takes one child, or all: "db" is one word too many`},
		{"a word after all", []string{"trystart", "all", "web"}, `trystart takes one child, or all: "web" is one word too many`},
		{"a word too many for check", []string{"check", "web", "db"}, `check takes one child, or shows all: "db" is one word too many`},
		{"a word that looks like on", []string{"stop", "web", "onto", "h"}, "only `on HOSTS` or `with KEY` may follow"},
		{"words of no command", []string{"kill", "all", "now"}, `"now" stands where`},
		{"hosts in two words", []string{"stop", "web", "on", "a,", "b"}, `"b" stands where`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseWords(tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func FuzzParseWords(f *testing.F) {
	for _, seed := range []string{"start web on a with k", "check", "stop all", "kill", "help x", "start on on", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		w, err := ParseWords(strings.Split(line, " "))
		if err != nil {
			return
		}
		if w.Verb.Changes() && w.Child == "" {
			t.Errorf("%q: no child", line)
		}
	})
}

func TestParseChildren(t *testing.T) {
	tests := []struct {
		line     string
		children string
		want     Words
		err      string
	}{
		{"web", "web", Words{}, ""},
		{"web db web on a,b with k on c", "web db", Words{Hosts: []string{"a,b", "c"}, Key: "k"}, ""},
		{"all On h", "all", Words{Hosts: []string{"h"}}, ""},
		{"with with k", "with", Words{Key: "k"}, ""},
		{"logs rotate", "logs rotate", Words{}, ""},
		{"", "", Words{}, "which child do you mean? write `logs CHILD`, or `logs all`"},
		{"on h", "", Words{}, "which child do you mean?"},
		{"web all", "", Words{}, `"all" is every child, write logs all`},
		{"web Start", "", Words{}, `"Start" is a command, a child cannot have its name`},
		{"web on", "", Words{}, `"on" is the last word, what comes after it?`},
		{"web on h db", "", Words{}, `"db" stands where`},
	}
	for _, tt := range tests {
		children, w, err := ParseChildren("logs", strings.Fields(tt.line))
		switch {
		case tt.err == "" && (err != nil || strings.Join(children, " ") != tt.children || !reflect.DeepEqual(w, tt.want)):
			t.Errorf("%q: %q, %+v, %v", tt.line, children, w, err)
		case tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err)):
			t.Errorf("%q: %v, want %s", tt.line, err, tt.err)
		}
	}
	if _, _, err := ParseChildren("logs", []string{""}); err == nil {
		t.Error("an empty name is taken")
	}
}
