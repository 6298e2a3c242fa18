package legacy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/control/legacy"
	"kita/spec"
)

// fleetOfFour is a (runs), b (down, repeats), c (runs, with a posthook) and d
// (down, with a prehook).
func fleetOfFour() *controltest.Service {
	b, c, d := controltest.Child("b"), controltest.Child("c"), controltest.Child("d")
	b.Repeat = &spec.Repeat{Action: spec.VerbRestart, Every: spec.Duration(5 * time.Second)}
	c.Posthook = &spec.Hook{Verb: spec.VerbStart, Child: "a"}
	d.Prehook = &spec.Hook{Verb: spec.VerbStart, Child: "a"}
	s := controltest.New(controltest.Child("a"), b, c, d)
	s.InfoValue = spec.Info{ConfigFile: "/srv/server.yml", LoadPaths: []string{"/srv/children"}}
	s.SetRunning("a", 80)
	s.SetRunning("c", 82)
	return s
}

func TestAnswersOfTheTable(t *testing.T) {
	tests := []struct{ name, request, want string }{
		{"start", "start b", "start b success, and it will restart in 5s"},
		{"start with a prehook", "start d", "Find pre-hook, has started pre-hook firstly. start d success"},
		{"start in another spelling", "Start d", "Find pre-hook, has started pre-hook firstly. start d success"},
		{"start what runs", "start a", "Cannot start this child a, it already exsits"},
		{"start without a file", "start x", "Cannot found 'x' file in load path"},
		{"start without a name", "start", "you have to give which child you want to start"},
		{"start all", "start all", `"all" is reserved keywords, cannot run child named "all"`},
		{"start on", "start on", `"on" is reserved keywords, cannot run child named "on"`},
		{"start with a verb as name", "start INFO", "child name cannot be command"},
		{"restart", "restart a", "restart a success"},
		{"restart what is down", "restart b", "b not exsit, cannot stop"},
		{"restart without a file", "restart x", "Cannot found 'x' file in load path"},
		{"restart without a name", "restart ", "you have to give which child you want to restart"},
		{"stop", "stop a", "stop a success"},
		{"stop all", "stop all", "stop all success"},
		{"stop what is down", "stop b", "b not exsit, cannot stop"},
		{"stop what never was", "stop x", "x not exsit, cannot stop"},
		{"stop without a name", "stop", "you have to give which child you want to stop"},
		{"trystart, down", "trystart b", "Start b success, and it will restart in 5s "},
		{"trystart, running", "TryStart a", "This child already start, stop it first. Stop a success, start it again. Start a success "},
		{"trystart with a posthook", "trystart c", `This child already start, stop it first. find post-hook "start a", run it after stop. Stop c success, start it again. Start c success `},
		{"trystart without a file", "trystart x", "Cannot found 'x' file in load path"},
		{"help", "help", "not support"},
		{"unknown word", "launch a", "no legal operations input"},
		{"a word in an unknown spelling", "STOP a", "no legal operations input"},
		{"nothing", "", "no legal operations input"},
		{"only padding", "\x00\x00", "no legal operations input"},
		{"not UTF-8", "stop \xff\xfe", "no legal operations input"},
		{"trailing NULs", "stop a\x00\x00\x00", "stop a success"},
		{"trailing space", "stop a ", "stop a success"},
		{"trailing newline", "stop a\r\n", "stop a success"},
		{"ignored pairs", "stop a on 10.0.0.1 with k.pem On x With y", "stop a success"},
		{"odd pairs", "stop a on", "prep & obj arguments number should be even"},
		{"unknown preposition", "stop a at home", "does not support at"},
		{"the name is what follows the verb", "stop on 10.0.0.1", "prep & obj arguments number should be even"},
		{"info of another", "info x", "==Server Info Below==\n=======================\n"},
		{"check of what is down", "check b", "==Check Results Below==\n"},
		{"check of a verb", "check stop", "child name cannot be command"},
		{"kill of one child", "kill a", "kill ends the server and all its children, it takes no child name"},
		{"too long", "stop " + strings.Repeat("x", legacy.MaxPacket), "the request is too long, the limit is 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, kill := legacy.Answer(t.Context(), fleetOfFour(), []byte(tt.request), legacy.Options{})
			if string(answer) != tt.want || kill {
				t.Errorf("answer %q, kill %v, want %q, false", answer, kill, tt.want)
			}
		})
	}
}

func TestKillAnswersAndAsksForTheEnd(t *testing.T) {
	for _, request := range []string{"kill", "Kill", "kill all", "kill on 10.0.0.1"} {
		answer, kill := legacy.Answer(t.Context(), fleetOfFour(), []byte(request), legacy.Options{})
		if string(answer) != "I am dying. last error: \n" || !kill {
			t.Errorf("%s: answer %q, kill %v", request, answer, kill)
		}
	}
}

func TestCommandsCarryTheirAsker(t *testing.T) {
	s := fleetOfFour()
	legacy.Answer(t.Context(), s, []byte("stop a with k"), legacy.Options{By: "tcp:10.0.0.7"})
	got := s.Commands()
	if want := (spec.Command{Verb: spec.VerbStop, Child: "a", By: "tcp:10.0.0.7"}); len(got) != 1 || got[0] != want {
		t.Errorf("commands %v, want %v", got, want)
	}
}

const blockOfA = `child name: a
processing id: 80
config detail:
  config location is: /srv/children
  command is: /bin/sleep 1000
  stdout is: none
  stderr is: none
  child id is: 80
  start time: "2026-01-31 02:11:11"
  repeat is: false
  hooks are:
    none
=======================
`

const blockOfC = `child name: c
processing id: 82
config detail:
  config location is: /srv/children
  command is: /bin/sleep 1000
  stdout is: path: o.out, mode: create
  stderr is: path: /e, mode: append
  child id is: 82
  start time: "2026-01-31 02:11:11"
  repeat is: action is stop, interval is 60 seconds
  hooks are:
    prehook: start a
    posthook: stop b

=======================
`

func TestCheckShowsWhatRuns(t *testing.T) {
	s := fleetOfFour()
	c := controltest.Child("c")
	c.Stdout = &spec.Stream{Path: "o.out", Mode: spec.Create}
	c.Stderr = &spec.Stream{Path: "/e", Mode: spec.Append}
	c.Repeat = &spec.Repeat{Action: spec.VerbStop, Every: spec.Duration(time.Minute)}
	c.Prehook = &spec.Hook{Verb: spec.VerbStart, Child: "a"}
	c.Posthook = &spec.Hook{Verb: spec.VerbStop, Child: "b"}
	view, _ := s.Get("c")
	view.Status.Process.Config = c

	header := "==Check Results Below==\n"
	for request, want := range map[string]string{
		"check": header + blockOfA + blockOfC, "check all": header + blockOfA + blockOfC,
		"check c": header + blockOfC, "check on 10.0.0.1": header + blockOfA + blockOfC,
	} {
		answer, _ := legacy.Answer(t.Context(), s, []byte(request), legacy.Options{Location: time.UTC})
		if string(answer) != want {
			t.Errorf("%s:\n%s\nwant\n%s", request, answer, want)
		}
	}
	// Times are those of the zone asked for.
	answer, _ := legacy.Answer(t.Context(), s, []byte("check a"), legacy.Options{Location: time.FixedZone("", 3600)})
	if want := header + strings.Replace(blockOfA, "02:11:11", "03:11:11", 1); string(answer) != want {
		t.Errorf("in another zone:\n%s", answer)
	}
}

func TestCheckOfAProcessWithoutConfiguration(t *testing.T) {
	s := controltest.New(nil...)
	list := viewsOnly{s, []spec.View{{Name: "a", Status: spec.Status{Process: &spec.Process{PID: 7, StartedAt: controltest.Started}}}}}
	answer, _ := legacy.Answer(t.Context(), list, []byte("check"), legacy.Options{Location: time.UTC})
	if !strings.Contains(string(answer), "processing id: 7\n") {
		t.Errorf("answer %q", answer)
	}
}

type viewsOnly struct {
	*controltest.Service
	views []spec.View
}

func (v viewsOnly) List() []spec.View { return v.views }

func TestInfoBlock(t *testing.T) {
	s := fleetOfFour()
	want := `==Server Info Below==
Server config path:
/srv/server.yml
Children are running (use 'check' command to see child detail):
[a c ]
Server configs:
Load paths: ["/srv/children"]
Encrypt mode: "off"
=======================
`
	for _, request := range []string{"info", "InFo", "info all", "info on 10.0.0.1"} {
		if answer, _ := legacy.Answer(t.Context(), s, []byte(request), legacy.Options{}); string(answer) != want {
			t.Errorf("%s:\n%s", request, answer)
		}
	}

	quiet := controltest.New()
	quiet.InfoValue = spec.Info{ConfigFile: "/tmp/server.yml", Encrypt: true, LoadPaths: []string{"/srv/a b", "/\"q\"\\\n\x01é'"}}
	want = "==Server Info Below==\nServer config path:\n/tmp/server.yml\n" +
		"Children are running (use 'check' command to see child detail):\n[]\nServer configs:\n" +
		`Load paths: ["/srv/a b", "/\"q\"\\\n\u{1}é'"]` + "\nEncrypt mode: \"on\"\n=======================\n"
	if answer, _ := legacy.Answer(t.Context(), quiet, []byte("info"), legacy.Options{}); string(answer) != want {
		t.Errorf("got\n%s\nwant\n%s", answer, want)
	}
}

func TestRefusalsInTheOldWords(t *testing.T) {
	tests := []struct {
		request string
		err     error
		want    string
	}{
		{"start w", spec.Refuse(spec.BadHook, "", "", "a circle"), "This child, w, cannot pass recursive check"},
		{"restart w", spec.Refuse(spec.BadHook, "", "", "a circle"), "This child, w, cannot pass pre-check"},
		{"trystart w", spec.Refuse(spec.BadHook, "", "", "a circle"), "This child, w, cannot pass pre-check"},
		{"start w", spec.Refuse(spec.CannotStart, "", "", "/bin/x: no such file"), "Cannot start child w: /bin/x: no such file"},
		{"stop w", spec.Refuse(spec.NotFound, "", "", "no file"), "w not exsit, cannot stop"},
		{"start w", spec.Refuse(spec.InvalidFile, "", "", "w.yml:3: no"), "w.yml:3: no"},
		{"start w", spec.Refuse(spec.Ambiguous, "", "", "two files"), "two files"},
		{"start w", context.Canceled, "the server ended before the command was done"},
		{"start w", errors.New("secret"), "the server ended before the command was done"},
	}
	for _, tt := range tests {
		s := controltest.New()
		s.DoFunc = func(context.Context, spec.Command) (spec.Outcome, error) { return spec.Outcome{}, tt.err }
		if answer, _ := legacy.Answer(t.Context(), s, []byte(tt.request), legacy.Options{}); string(answer) != tt.want {
			t.Errorf("%s, %v: answer %q, want %q", tt.request, tt.err, answer, tt.want)
		}
	}
}

func TestRepeatTail(t *testing.T) {
	for every, want := range map[time.Duration]string{
		5 * time.Second:         "restart w success, and it will stop in 5s",
		90 * time.Second:        "restart w success, and it will stop in 90s",
		1500 * time.Millisecond: "restart w success, and it will stop in 1.5s",
		500 * time.Millisecond:  "restart w success, and it will stop in 500ms",
	} {
		s := controltest.New()
		s.DoFunc = func(context.Context, spec.Command) (spec.Outcome, error) {
			return spec.Outcome{Repeat: &spec.Repeat{Action: spec.VerbStop, Every: spec.Duration(every)}}, nil
		}
		if answer, _ := legacy.Answer(t.Context(), s, []byte("restart w"), legacy.Options{}); string(answer) != want {
			t.Errorf("%v: %q, want %q", every, answer, want)
		}
	}
}

func TestEncryptModeServesNoPacket(t *testing.T) {
	const line = "Running on encrypt mode, need to dencrypt your command.\n"
	for packet, want := range map[string]string{
		"stop all":                              line + "Cannot parse encrypt data",
		"kill":                                  line + "Cannot parse encrypt data",
		";body":                                 line + "Keyname or command is empty",
		"ops;":                                  line + "Keyname or command is empty",
		"ops;\x01\x00":                          line + "Cannot found 'ops' file in keys path",
		"\xff;body":                             line + "Cannot found '\uFFFD' file in keys path",
		strings.Repeat("x", legacy.MaxPacket+1): line + "the request is too long, the limit is 65536 bytes",
	} {
		s := fleetOfFour()
		answer, kill := legacy.Answer(t.Context(), s, []byte(packet), legacy.Options{Encrypt: true})
		if string(answer) != want || kill || len(s.Commands()) != 0 {
			t.Errorf("%.20q: answer %q, kill %v, commands %v", packet, answer, kill, s.Commands())
		}
	}
}

func FuzzLegacyAnswer(f *testing.F) {
	for _, seed := range []string{"start b", "stop all", "check", "info", "kill", "trystart c on x with y", "\x00", "a;b", "start \xff", "-h"} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, packet []byte, encrypt bool) {
		s := fleetOfFour()
		answer, kill := legacy.Answer(t.Context(), s, packet, legacy.Options{Encrypt: encrypt})
		if len(answer) == 0 {
			t.Error("no answer")
		}
		if encrypt && (kill || len(s.Commands()) != 0) {
			t.Errorf("a plain packet was carried out in encrypt mode: %q", packet)
		}
		for _, c := range s.Commands() {
			if c.Child == "" || !c.Verb.Changes() || c.Child == spec.All && c.Verb != spec.VerbStop {
				t.Errorf("command %v of %q", c, packet)
			}
		}
		// What comes with a half-close must be decided, whatever Pending says.
		var opens func(string, []byte) bool
		if encrypt {
			opens = func(string, []byte) bool { return false }
		}
		legacy.Pending(packet, opens, nil)
	})
}
