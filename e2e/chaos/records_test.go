package chaos

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"kita/spec"
)

// run is one run of a child.
type run struct {
	child       string
	incarnation uint64
}

func (r run) String() string { return fmt.Sprintf("%s.%d", r.child, r.incarnation) }

// ledger is what the children wrote.
type ledger struct {
	// starts has the PIDs that began a run: one, if all is well.
	starts map[run][]int
	ends   map[run]int // the code it was about to exit with
	// doubles are the runs that found another process of their child alive.
	doubles []run
	// latest is the highest incarnation of each child.
	latest map[string]uint64
}

func newLedger() *ledger {
	return &ledger{starts: map[run][]int{}, ends: map[run]int{}, latest: map[string]uint64{}}
}

// read takes over the lines of r; the last one only if it is whole. It returns
// the bytes taken.
func (l *ledger) read(r io.Reader) (taken int64, err error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return taken, nil
		}
		if err != nil {
			return taken, err
		}
		taken += int64(len(line))
		if err := l.line(string(bytes.TrimSpace(line))); err != nil {
			return taken, err
		}
	}
}

func (l *ledger) line(text string) error {
	var mark, child string
	var incarnation uint64
	var number int
	if n, err := fmt.Sscanf(text, "%s %s %d %d", &mark, &child, &incarnation, &number); n != 4 {
		return fmt.Errorf("the ledger has the line %q: %v", text, err)
	}
	r := run{child, incarnation}
	switch mark {
	case "S":
		l.starts[r] = append(l.starts[r], number)
		l.latest[child] = max(l.latest[child], incarnation)
	case "E":
		l.ends[r] = number
	case "D":
		l.doubles = append(l.doubles, r)
	default:
		return fmt.Errorf("the ledger has the line %q", text)
	}
	return nil
}

// ledgerFile reads a ledger that grows.
type ledgerFile struct {
	*ledger
	path string
	read int64
}

func openLedger(path string) *ledgerFile { return &ledgerFile{ledger: newLedger(), path: path} }

func (l *ledgerFile) catchUp() error {
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(l.read, io.SeekStart); err != nil {
		return err
	}
	n, err := l.ledger.read(f)
	l.read += n
	return err
}

// view is what the harness reads of a child in the answers of the API.
type view struct {
	Name    string `json:"name"`
	Desired struct {
		Run        spec.Run  `json:"run"`
		Generation uint64    `json:"generation"`
		At         time.Time `json:"at"`
	} `json:"desired"`
	Status struct {
		Phase   spec.Phase `json:"phase"`
		Process *struct {
			PID         int    `json:"pid"`
			Incarnation uint64 `json:"incarnation"`
		} `json:"process"`
		Starts   uint64      `json:"starts"`
		Restarts uint64      `json:"restarts"`
		History  []spec.Exit `json:"history"`
		LastExit *spec.Exit  `json:"last_exit"`
		Reason   string      `json:"reason"`
		Failure  *struct {
			Message string `json:"message"`
		} `json:"failure"`
	} `json:"status"`
}

func (v view) alive() bool { return v.Status.Process != nil }

// latest is the highest incarnation that the view tells of.
func (v view) latest() uint64 {
	var n uint64
	if v.Status.Process != nil {
		n = v.Status.Process.Incarnation
	}
	for _, e := range v.Status.History {
		n = max(n, e.Incarnation)
	}
	return n
}

// history is what kita said of the children, over all its answers. A server
// remembers 16 exits of each, so it has to be asked often enough.
type history struct {
	exits map[run]spec.Exit
	views map[string]view
	// wrong are answers that contradict one that came before.
	wrong []string
	// unseen are runs of which the exit may have been remembered and was not
	// asked for in time: others have taken its place.
	unseen map[run]bool
}

// remembered is how many exits of a child an answer has at most, see
// spec.Status.
const remembered = 16

func newHistory() *history {
	return &history{exits: map[run]spec.Exit{}, views: map[string]view{}, unseen: map[run]bool{}}
}

// add takes over one answer.
func (h *history) add(views []view) {
	for _, v := range views {
		before, known := h.views[v.Name]
		if known && (v.Status.Starts < before.Status.Starts || v.latest() < before.latest()) {
			h.complain("%s had %d starts and run %d, and has now %d and %d",
				v.Name, before.Status.Starts, before.latest(), v.Status.Starts, v.latest())
		}
		if len(v.Status.History) >= remembered {
			// Of the run that lived then, too, the end came afterwards.
			for n := max(before.latest(), 1); n < v.Status.History[0].Incarnation; n++ {
				h.unseen[run{v.Name, n}] = true
			}
		}
		h.views[v.Name] = v
		seen := map[uint64]bool{}
		for _, e := range v.Status.History {
			if seen[e.Incarnation] {
				h.complain("%s.%d has two exits in one answer", v.Name, e.Incarnation)
			}
			seen[e.Incarnation] = true
			h.exit(run{v.Name, e.Incarnation}, e)
		}
	}
}

func (h *history) exit(r run, e spec.Exit) {
	before, known := h.exits[r]
	if known && (before.Known != e.Known || before.Code != e.Code || before.Signal != e.Signal) {
		h.complain("%v ended with %v, and now with %v", r, before, e)
		return
	}
	h.exits[r] = e
}

func (h *history) complain(format string, args ...any) {
	// The first ones tell enough, and every answer may repeat them.
	if len(h.wrong) < 50 {
		h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
	}
}
