package chaos

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kita/spec"
)

// exited is the right exit of a run.
func exited(child string, incarnation uint64) spec.Exit {
	return spec.Exit{Incarnation: incarnation, Known: true, Code: Code(child, incarnation)}
}

// story is what the children wrote and what kita said, three runs of one child
// and one of another, with nothing wrong.
type story struct {
	ledger string
	// answers of kita, the views of web and of db.
	web, db view
}

func lines(text ...string) string { return strings.Join(text, "\n") + "\n" }

func wellTold() story {
	s := story{ledger: lines(
		"S web 1 100", "E web 1 "+codeText("web", 1), "S db 1 101",
		"S web 2 102", "E web 2 "+codeText("web", 2), "S web 3 103",
	)}
	s.web.Name, s.db.Name = "web", "db"
	s.web.Status.Starts, s.db.Status.Starts = 3, 1
	s.web.Status.History = []spec.Exit{exited("web", 1), exited("web", 2), byTerm(3)}
	s.db.Status.History = []spec.Exit{byTerm(1)}
	return s
}

func codeText(child string, incarnation uint64) string {
	return string([]byte{'0' + byte(Code(child, incarnation)/100), '0' + byte(Code(child, incarnation)/10%10), '0' + byte(Code(child, incarnation)%10)})
}

func byTerm(incarnation uint64) spec.Exit {
	return spec.Exit{Incarnation: incarnation, Known: true, Signal: spec.Signal(syscall.SIGTERM)}
}

// TestOracleSeesWhatIsWrong falsifies a good story in one way each: an oracle
// that cannot fail would prove nothing.
func TestOracleSeesWhatIsWrong(t *testing.T) {
	tests := []struct {
		name    string
		falsify func(*story)
		want    findings
	}{
		{"nothing", func(*story) {}, findings{}},
		{"a process found another one", func(s *story) { s.ledger += "D web 3 104\n" }, findings{doubles: 1}},
		{"a run was started twice", func(s *story) { s.ledger += "S web 2 105\n" }, findings{wrong: 1}},
		{"an exit is missing", func(s *story) { s.web.Status.History = s.web.Status.History[1:] }, findings{lost: 1}},
		{"the last exit is missing", func(s *story) { s.db.Status.History = nil }, findings{lost: 1}},
		{"another code", func(s *story) { s.web.Status.History[1].Code++ }, findings{wrong: 1}},
		{"the code of another run", func(s *story) { s.web.Status.History[1].Code = Code("web", 1) }, findings{wrong: 1}},
		{"a signal nobody sent", func(s *story) { s.web.Status.History[1] = byTerm(2) }, findings{wrong: 1}},
		{"another signal than that sent", func(s *story) { s.db.Status.History[0].Signal = spec.Signal(syscall.SIGSEGV) }, findings{wrong: 1}},
		{"an exit nobody knows", func(s *story) { s.web.Status.History[0] = spec.Exit{Incarnation: 1} }, findings{unknown: 1}},
		{"an exit of a run that lives", func(s *story) {
			s.ledger = strings.Replace(s.ledger, "E web 2 "+codeText("web", 2)+"\n", "", 1)
		}, findings{wrong: 1}},
		{"an exit without a start", func(s *story) {
			s.ledger = strings.Replace(s.ledger, "S web 2 102\nE web 2 "+codeText("web", 2)+"\n", "", 1)
		}, findings{wrong: 1}},
		{"two exits of a run", func(s *story) {
			s.web.Status.History = append(s.web.Status.History, byTerm(3))
		}, findings{wrong: 1}},
		{"a start too many", func(s *story) { s.web.Status.Starts = 4 }, findings{wrong: 1}},
		{"a start too few", func(s *story) { s.web.Status.Starts = 2 }, findings{wrong: 1}},
		{"alive after the end", func(s *story) {
			s.db.Status.Process = &struct {
				PID         int    `json:"pid"`
				Incarnation uint64 `json:"incarnation"`
			}{101, 1}
		}, findings{wrong: 1}},
		{"a child that kita forgot", func(s *story) { s.ledger += "S mail 1 106\n" }, findings{lost: 1, wrong: 1}},
		{"one that was to live has died", func(s *story) {
			s.ledger += "S ever 1 107\nS ever 2 108\n"
		}, findings{lost: 2, wrong: 1, deaths: 1}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := wellTold()
			s.web.Status.History = slices.Clone(s.web.Status.History)
			tc.falsify(&s)
			l, h := newLedger(), newHistory()
			if _, err := l.read(strings.NewReader(s.ledger)); err != nil {
				t.Fatal(err)
			}
			h.add([]view{s.web, s.db})
			got := judge(l, h, rules{
				final:     true,
				signalled: func(r run) bool { return r == run{"web", 3} || r == run{"db", 1} },
				lives:     func(child string) bool { return child == "ever" },
			})
			details := strings.Join(got.details, "\n")
			tc.want.starts, tc.want.details = got.starts, got.details
			if !slices.Equal(numbers(*got), numbers(tc.want)) {
				t.Errorf("found %v, want %v:\n%s", numbers(*got), numbers(tc.want), details)
			}
			if bad := got.bad(rules{}); bad != (tc.name != "nothing") {
				t.Errorf("bad is %v", bad)
			}
		})
	}
}

func numbers(f findings) []int {
	return []int{f.starts, f.doubles, f.lost, f.wrong, f.unknown, f.deaths}
}

// TestOracleAllowsWhatTheFaultExplains: an unknown exit, a number used
// again, and runs of which the end has not been seen yet.
func TestOracleAllowsWhatTheFaultExplains(t *testing.T) {
	s := wellTold()
	s.web.Status.History = []spec.Exit{{Incarnation: 1}, exited("web", 2)}
	s.db.Status.History = nil
	s.ledger += "S web 2 105\nE web 2 " + codeText("web", 2) + "\n"
	l, h := newLedger(), newHistory()
	if _, err := l.read(strings.NewReader(s.ledger)); err != nil {
		t.Fatal(err)
	}
	h.add([]view{s.web, s.db})
	r := rules{mayUnknown: true, signalled: func(run) bool { return false }, lives: func(string) bool { return false }}
	f := judge(l, h, r)
	if f.bad(r) || f.unknown != 2 {
		t.Errorf("found %v: %s", numbers(*f), strings.Join(f.details, "\n"))
	}
}

// TestOracleAllowsACrashOnlyWhereTheFaultBringsIt: status 2 without a start.
func TestOracleAllowsACrashOnlyWhereTheFaultBringsIt(t *testing.T) {
	s := wellTold()
	s.web.Status.History = append(s.web.Status.History, spec.Exit{Incarnation: 4, Known: true, Code: 2})
	for _, may := range []bool{true, false} {
		l, h := newLedger(), newHistory()
		if _, err := l.read(strings.NewReader(s.ledger)); err != nil {
			t.Fatal(err)
		}
		h.add([]view{s.web, s.db})
		r := rules{mayCrash: may, signalled: func(run) bool { return true }, lives: func(string) bool { return false }}
		if f := judge(l, h, r); f.bad(r) == may {
			t.Errorf("may crash: %v; found %v: %s", may, numbers(*f), strings.Join(f.details, "\n"))
		}
	}
}

// TestOracleTellsWhatItDidNotAskFor: between two answers more runs ended than an
// answer tells of.
func TestOracleTellsWhatItDidNotAskFor(t *testing.T) {
	l, h := newLedger(), newHistory()
	v := view{Name: "web"}
	tell := func(first, last uint64) {
		v.Status.Starts, v.Status.History = last, nil
		for n := first; n <= last; n++ {
			v.Status.History = append(v.Status.History, exited("web", n))
		}
		h.add([]view{v})
	}
	for n := uint64(1); n <= 40; n++ {
		if err := l.line(fmt.Sprint("S web ", n, " ", n)); err != nil {
			t.Fatal(err)
		}
		if err := l.line(fmt.Sprint("E web ", n, " ", Code("web", n))); err != nil {
			t.Fatal(err)
		}
	}
	tell(1, 10)
	tell(13, 28) // 11 and 12 ended in between
	tell(25, 40)
	r := rules{final: true, signalled: func(run) bool { return false }, lives: func(string) bool { return false }}
	if f := judge(l, h, r); f.unseen != 2 || f.bad(r) {
		t.Errorf("%d not asked for, found %v: %s", f.unseen, numbers(*f), strings.Join(f.details, "\n"))
	}
}

func TestHistoryNoticesContradictions(t *testing.T) {
	tests := []struct {
		name string
		then func(*view)
	}{
		{"another code", func(v *view) { v.Status.History[0].Code++ }},
		{"known no more", func(v *view) { v.Status.History[0] = spec.Exit{Incarnation: 1} }},
		{"fewer starts", func(v *view) { v.Status.Starts-- }},
		{"an earlier run", func(v *view) { v.Status.History = v.Status.History[:1] }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			h := newHistory()
			v := wellTold().web
			h.add([]view{v})
			h.add([]view{v})
			if len(h.wrong) > 0 {
				t.Fatalf("the same answer twice: %v", h.wrong)
			}
			v.Status.History = slices.Clone(v.Status.History)
			tc.then(&v)
			h.add([]view{v})
			if len(h.wrong) == 0 {
				t.Error("not noticed")
			}
		})
	}
}

func TestOrdersNoticeWhatWasForgotten(t *testing.T) {
	o := newOrders()
	o.know("cmd-0")
	o.know("brief-0")
	child, verb := o.begin()
	if child != "cmd-0" || verb != "stop" {
		t.Fatalf("begins with %s %s", verb, child)
	}
	o.end(child, true)
	v := view{Name: "cmd-0"}
	v.Desired.Run = spec.Running
	given := o.now()
	if lines := o.broken(given, []view{v}); len(lines) != 1 {
		t.Errorf("an acknowledged stop that does not hold: %v", lines)
	}
	v.Desired.Run = spec.Stopped
	if lines := o.broken(given, []view{v}); lines != nil {
		t.Errorf("one that holds: %v", lines)
	}
	v.Desired.Run = spec.Running
	if child, verb = o.begin(); verb != "start" {
		t.Fatalf("then %s %s", verb, child)
	}
	if lines := o.broken(given, []view{v}); lines != nil {
		t.Errorf("while a command is under way: %v", lines)
	}
	o.end(child, false)
	if lines := o.broken(o.now(), []view{v}); lines != nil {
		t.Errorf("after one that was cut off: %v", lines)
	}
}

func TestLedgerRefusesNonsense(t *testing.T) {
	for _, text := range []string{"S web 1\n", "X web 1 2\n", "\n", "S web one 2\n"} {
		if _, err := newLedger().read(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	l := newLedger()
	if n, err := l.read(strings.NewReader("S web 1 2\nS web 2")); err != nil || n != 10 || len(l.starts) != 1 {
		t.Errorf("an unfinished line: %d bytes, %v, %v", n, err, l.starts)
	}
}
