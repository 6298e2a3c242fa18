package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

var update = flag.Bool("update", false, "rewrite the transcripts with what the planner answers")

// TestTranscripts replays the stories in testdata/transcripts. A line that
// begins at the margin is a command to the teller, the indented ones below it
// are what came of it:
//
//	child FIELD=VALUE...    the child's file: restart, backoff, limit, grace,
//	                        signal, success, repeat, prehook, posthook (words
//	                        joined by "-", durations by "/")
//	file gone|unknown|back  deleted; without a good version; as before
//	desired VERB            a command: running, stopped, restart, trystart;
//	                        posthooks are owed as the commands owe them
//	pass                    passes until nothing is to be done at this instant
//	launched                the start that the last pass asked for made a process
//	launch failed WHY       it made none
//	exited CODE|SIGNAL [empty|leftovers] [of N]
//	emptied [of N]          the last of the group ended
//	hook done|failed WHY    the hook in flight ended
//	advance DURATION        the clock moves, also back
//	server restart          what is only in memory is lost
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 15 {
		t.Fatalf("found %d transcripts", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s differs, -update rewrites it: %s", file, firstDifference(got, string(text)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d is %q, want %q", i+1, g[i], append(w, "")[min(i, len(w))])
		}
	}
	return fmt.Sprintf("line %d is missing: %q", len(g)+1, w[len(g)])
}

// replay tells a story again: its commands and comments as they are, with what
// comes of each command now.
func replay(t *testing.T, text string) string {
	te := &teller{t: t, now: epoch, child: newChild()}
	te.file = te.child
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out.WriteString(line)
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		te.out = nil
		te.do(words)
		for _, said := range te.out {
			out.WriteString("  " + said + "\n")
		}
	}
	return out.String()
}

// teller is the state of a story.
type teller struct {
	t       *testing.T
	child   *spec.Child
	file    *spec.Child
	gone    bool
	desired spec.Desired
	o       Observed
	now     time.Time
	// starting is set between a start and what came of it.
	starting bool
	out      []string
}

func (te *teller) say(format string, args ...any) {
	te.out = append(te.out, fmt.Sprintf(format, args...))
}

func (te *teller) do(words []string) {
	te.t.Helper()
	rest := strings.Join(words[1:], " ")
	switch words[0] {
	case "child":
		te.child = newChild()
		for _, word := range words[1:] {
			te.field(word)
		}
		te.file, te.gone = te.child, false
	case "file":
		te.gone = rest == "gone"
		te.file = te.child
		if rest == "unknown" {
			te.file = nil
		}
	case "desired":
		te.command(rest)
	case "pass":
		te.pass()
	case "launched":
		te.started()
		te.o.Launched(launch(te.o.Incarnation+1), te.file, te.desired, te.now)
	case "launch":
		te.started()
		te.o.LaunchFailed(strings.TrimPrefix(rest, "failed "), te.file, te.desired, 0, te.now)
	case "exited":
		te.exited(words[1:])
	case "emptied":
		te.taken(te.o.Emptied(te.incarnation(words[1:])))
	case "hook":
		te.hookDone(strings.TrimPrefix(strings.TrimPrefix(rest, "done"), "failed "))
	case "advance":
		te.now = te.now.Add(te.duration(rest))
	case "server":
		te.restarted()
	default:
		te.t.Fatalf("unknown command %q", words)
	}
}

func (te *teller) started() {
	te.t.Helper()
	if !te.starting {
		te.t.Fatal("the last pass asked for no start")
	}
	te.starting = false
}

func (te *teller) taken(ok bool) {
	if !ok {
		te.say("dropped")
	}
}

func (te *teller) duration(text string) time.Duration {
	te.t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		te.t.Fatal(err)
	}
	return d
}

func (te *teller) number(text string) int {
	te.t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		te.t.Fatal(err)
	}
	return n
}

// field sets one field of the child's file.
func (te *teller) field(word string) {
	te.t.Helper()
	key, value, _ := strings.Cut(word, "=")
	first, second, _ := strings.Cut(value, "/")
	c := te.child
	switch key {
	case "restart":
		c.Restart.Policy = spec.Policy(value)
	case "backoff":
		c.Restart.Backoff.Initial = spec.Duration(te.duration(first))
		c.Restart.Backoff.Max = spec.Duration(te.duration(second))
	case "limit":
		c.Restart.Limit = spec.StartLimit{Starts: te.number(first), Within: spec.Duration(te.duration(second))}
	case "grace":
		c.Stop.Grace = spec.Duration(te.duration(value))
	case "signal":
		c.Stop.Signal = te.signal(value)
	case "success":
		c.Restart.Success = append(c.Restart.Success, te.class(value))
	case "repeat":
		c.Repeat = &spec.Repeat{Action: spec.Verb(first), Every: spec.Duration(te.duration(second))}
	case "prehook":
		c.Prehook = hookOf(value)
	case "posthook":
		c.Posthook = hookOf(value)
	default:
		te.t.Fatalf("unknown field %q", word)
	}
}

func hookOf(value string) *spec.Hook {
	verb, child, _ := strings.Cut(value, "-")
	return &spec.Hook{Verb: spec.Verb(verb), Child: child}
}

func (te *teller) signal(name string) spec.Signal {
	te.t.Helper()
	s, err := spec.ParseSignal(name)
	if err != nil {
		te.t.Fatal(err)
	}
	return s
}

// class reads an exit: a code, or the name of a signal.
func (te *teller) class(text string) spec.ExitClass {
	te.t.Helper()
	if strings.HasPrefix(text, "SIG") {
		return spec.ExitClass{Signal: te.signal(text)}
	}
	return spec.ExitClass{Code: te.number(text)}
}

// command writes desired state as the reconciler's commands do.
func (te *teller) command(verb string) {
	d := &te.desired
	d.Generation++
	switch verb {
	case "running", "restart":
		d.Run = spec.Running
		d.RestartGeneration++
	case "stopped":
		d.Run, d.Posthook = spec.Stopped, d.Generation
	case "trystart":
		if te.o.Process != nil {
			d.Posthook = d.Generation
		}
		d.Run = spec.Running
		d.RestartGeneration++
	default:
		te.t.Fatalf("unknown wish %q", verb)
	}
}

// pass does what the reconciler does with each plan until one has no action, or
// asks for a start: the story says what comes of that.
func (te *teller) pass() {
	te.t.Helper()
	if te.starting {
		te.t.Fatal("a pass before the story says what came of the start")
	}
	for range 20 {
		p := decide(te.t, te.file, te.gone, te.desired, &te.o, te.now)
		te.say("%s", te.line(p))
		te.o.Published(p.Status)
		switch a := p.Action.(type) {
		case nil, Forget:
			return
		case Start:
			te.starting = true
			return
		case Signal:
			te.o.Signalled(te.child.Stop.Grace.D(), te.now)
		case Kill:
			te.o.KillSent([]int{1000 + int(a.Incarnation)}, te.now)
		case RunHook:
			te.o.HookStarted(HookRun{Kind: a.Kind, Hook: a.Hook, For: a.For, Deadline: te.now.Add(HookTimeout)})
		case CancelHook:
			te.o.HookCancelled()
		case SkipPosthook:
			te.o.PosthookSkipped(a.Generation)
		case Trigger:
			te.o.RepeatTaken()
			te.command(map[spec.Verb]string{spec.VerbRestart: "restart", spec.VerbStop: "stopped",
				spec.VerbStart: "running", spec.VerbTrystart: "trystart"}[a.Verb])
		}
	}
	te.t.Fatal("twenty passes and still not done")
}

// line is a plan in one line: what is done; what is shown; when to look again.
func (te *teller) line(p Plan) string {
	s := p.Status
	words := []string{fmt.Sprintf("%s; %s, observed %d of %d", actionText(p.Action), s.Phase, s.ObservedGeneration, te.desired.Generation)}
	if s.Restarts > 0 {
		words = append(words, fmt.Sprintf("restarts %d", s.Restarts))
	}
	if s.Reason != "" {
		words = append(words, "reason: "+s.Reason)
	}
	if f := s.Failure; f != nil {
		words = append(words, fmt.Sprintf("%s in %d", f.Code, f.Generation))
	}
	if !p.WakeAt.IsZero() {
		words = append(words, fmt.Sprintf("wake in %v", p.WakeAt.Sub(te.now)))
	}
	return strings.Join(words, "; ")
}

// exited reads "CODE|SIGNAL|unknown [empty|leftovers] [of N]".
func (te *teller) exited(words []string) {
	te.t.Helper()
	e := spec.Exit{Incarnation: te.incarnation(words), At: te.now}
	if words[0] != "unknown" {
		c := te.class(words[0])
		e.Known, e.Code, e.Signal = true, c.Code, c.Signal
	}
	empty := len(words) < 2 || words[1] != "leftovers"
	te.taken(te.o.Exited(e, empty, 0))
}

// incarnation is N where the words end in "of N", else the latest.
func (te *teller) incarnation(words []string) uint64 {
	te.t.Helper()
	if n := len(words); n >= 2 && words[n-2] == "of" {
		return uint64(te.number(words[n-1]))
	}
	return te.o.Incarnation
}

// hookDone ends the hook in flight, or one that is not in flight any more.
func (te *teller) hookDone(failed string) {
	h := te.o.Hook
	if h == nil {
		h = &HookRun{Kind: Prehook, For: te.o.next(te.desired.Generation)}
	}
	te.taken(te.o.HookDone(h.Kind, h.For, failed, te.desired, 0, te.now))
}

func (te *teller) restarted() {
	te.t.Helper()
	te.o = reload(te.t, te.o)
	if te.o.Process != nil {
		te.o.Process.Adopted = true
	}
}
