package main

import (
	"bytes"
	"testing"

	"kita/console"
	"kita/control/fleet"
)

// A character may take two columns of the terminal, or none: the columns begin below
// each other all the same.
func TestColumnsOfWideCharacters(t *testing.T) {
	const want = "NAME   PHASE    REASON\n" +
		"crash  running  exit 1\n" +
		"名前   stopped\n" +
		"cafe\u0301   exited   done\n"
	rows := [][]cell{
		{{text: "crash"}, {text: "running"}, {text: "exit 1"}},
		{{text: "名前"}, {text: "stopped"}, {}},
		{{text: "cafe\u0301"}, {text: "exited"}, {text: "done"}},
	}
	tab := table{heading: []string{"NAME", "PHASE", "REASON"}}
	for _, row := range rows {
		tab.add(row...)
	}
	var b bytes.Buffer
	if err := tab.write(&b, &program{}, ""); err != nil || b.String() != want {
		t.Errorf("got\n%swant\n%s%v", b.String(), want, err)
	}
	b.Reset()
	l := newWatchPrinter(&program{out: &b}, request{})
	for _, row := range rows {
		if err := l.writeRow(tab.heading, row); err != nil {
			t.Fatal(err)
		}
	}
	if b.String() != want {
		t.Errorf("check --watch: got\n%swant\n%s", b.String(), want)
	}
	for _, name := range []string{"crash", "名前", "cafe\u0301"} {
		if got := console.Width(padded(name, 6)); got != 6 {
			t.Errorf("padded(%q, 6) takes %d columns", name, got)
		}
	}
	// As the logs have it.
	logs := &logPrinter{p: &program{}}
	logs.widen("crash")
	logs.widen("名前")
	if got := logs.prefix(fleet.Host{}, heldLine{child: "名前"}); got != "名前  | " {
		t.Errorf("logs: %q", got)
	}
}
