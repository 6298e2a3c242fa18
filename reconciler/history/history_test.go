package history

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kita/spec"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		addUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) *History {
	t.Helper()
	h := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(h.Close)
	return h
}

func anybody(string) bool { return true }

// read returns what r asks for, without the mark that all has come, and its Seq.
func read(t testing.TB, h *History, r spec.EventRequest, readable func(string) bool) (events []spec.Event, latest uint64) {
	t.Helper()
	told := false
	err := h.Send(t.Context(), r, readable, func(batch []spec.Event) error {
		for _, e := range batch {
			if e.Type == spec.EventCaughtUp {
				told, latest = true, e.Seq
				continue
			}
			events = append(events, e)
		}
		return nil
	})
	if err != nil || !told {
		t.Fatalf("caught up: %v, %v", told, err)
	}
	return events, latest
}

func readAll(t testing.TB, h *History) []spec.Event {
	t.Helper()
	events, _ := read(t, h, all(), anybody)
	return events
}

func all() spec.EventRequest { return spec.EventRequest{Children: []string{spec.All}} }

// brief is what most tests look at.
func brief(events []spec.Event) []string {
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%d %s %s", e.Seq, e.Child, e.Type))
	}
	return lines
}

func wantBrief(t *testing.T, events []spec.Event, want ...string) {
	t.Helper()
	if got := brief(events); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func started(child string, incarnation uint64) spec.Event {
	return spec.Event{Child: child, Type: spec.EventStarted, Incarnation: incarnation, PID: 100}
}

func TestWhatWasAddedIsRead(t *testing.T) {
	h := open(t, t.TempDir())
	next := time.Date(2026, 1, 31, 2, 11, 11, 5e6, time.UTC)
	added := []spec.Event{
		{Child: "web", Type: spec.EventCommand, Verb: spec.VerbStart, By: "ssh:ops@10.0.0.7", Cause: spec.CauseCommand, Generation: 3, At: next},
		{Child: "web", Type: spec.EventExited, At: next, Incarnation: 2, Exit: &spec.Exit{Incarnation: 2, Known: true, Code: 1, At: next}, Ran: spec.Duration(time.Second), LastLines: []string{"<oh> \"no\"", "\x1b[31m"}},
		{Child: "web", Type: spec.EventBackOff, At: next, Attempt: 2, Next: &next},
		{Type: spec.EventServer, At: next, Server: spec.ServerStarted},
	}
	h.Add(slices.Clone(added)...)
	for i := range added {
		added[i].Seq = uint64(i + 1)
	}
	if got := readAll(t, h); !reflect.DeepEqual(got, added) {
		t.Errorf("got\n%+v\nwant\n%+v", got, added)
	}
	if h.Err() != nil || h.Lost() != 0 {
		t.Errorf("%v, lost %d", h.Err(), h.Lost())
	}
}

func TestModeIsPrivate(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestRequests(t *testing.T) {
	h := open(t, t.TempDir())
	at := func(minutes int) time.Time { return time.Now().Add(time.Duration(-minutes) * time.Minute) }
	h.Add(
		spec.Event{Type: spec.EventServer, At: at(50)},
		spec.Event{Child: "web", Type: spec.EventStarted, At: at(40)},
		spec.Event{Child: "db", Type: spec.EventStarted, At: at(30)},
		spec.Event{Child: "web", Type: spec.EventExited, At: at(20)},
		spec.Event{Child: `we"b`, Type: spec.EventStarted, At: at(10)},
		spec.Event{Child: "web", Type: spec.EventBackOff, At: at(5)},
	)
	tail := func(n int) *int { return &n }
	noDB := func(child string) bool { return child != "db" && child != "" }
	tests := []struct {
		name     string
		request  spec.EventRequest
		readable func(string) bool
		want     []string
	}{
		{"all", all(), anybody, []string{"1  server", "2 web started", "3 db started", "4 web exited", `5 we"b started`, "6 web backoff"}},
		{"what may be read", all(), noDB, []string{"2 web started", "4 web exited", `5 we"b started`, "6 web backoff"}},
		{"one child", spec.EventRequest{Children: []string{"web"}}, anybody, []string{"2 web started", "4 web exited", "6 web backoff"}},
		{"a name with a quote", spec.EventRequest{Children: []string{`we"b`}}, anybody, []string{`5 we"b started`}},
		{"two children", spec.EventRequest{Children: []string{"db", `we"b`}}, anybody, []string{"3 db started", `5 we"b started`}},
		{"nobody", spec.EventRequest{Children: []string{"x"}}, anybody, nil},
		{"the server's own are nobody's", spec.EventRequest{Children: []string{""}}, anybody, nil},
		{"types", spec.EventRequest{Children: []string{spec.All}, Types: []spec.EventType{spec.EventStarted, spec.EventServer}}, anybody, []string{"1  server", "2 web started", "3 db started", `5 we"b started`}},
		{"tail", spec.EventRequest{Children: []string{spec.All}, Tail: tail(2)}, anybody, []string{`5 we"b started`, "6 web backoff"}},
		{"tail of what is left", spec.EventRequest{Children: []string{spec.All}, Types: []spec.EventType{spec.EventStarted}, Tail: tail(2)}, noDB, []string{"2 web started", `5 we"b started`}},
		{"tail longer than all", spec.EventRequest{Children: []string{"db"}, Tail: tail(9)}, anybody, []string{"3 db started"}},
		{"no tail", spec.EventRequest{Children: []string{spec.All}, Tail: tail(0)}, anybody, nil},
		{"since", spec.EventRequest{Children: []string{spec.All}, Since: at(15)}, anybody, []string{`5 we"b started`, "6 web backoff"}},
		{"age", spec.EventRequest{Children: []string{spec.All}, Age: spec.Duration(25 * time.Minute)}, anybody, []string{"4 web exited", `5 we"b started`, "6 web backoff"}},
		{"after", spec.EventRequest{Children: []string{spec.All}, After: 4}, anybody, []string{`5 we"b started`, "6 web backoff"}},
		{"after, whatever the tail", spec.EventRequest{Children: []string{spec.All}, After: 4, Tail: tail(0), Since: time.Now()}, anybody, []string{`5 we"b started`, "6 web backoff"}},
		{"after the last", spec.EventRequest{Children: []string{spec.All}, After: 6}, anybody, nil},
		{"after one of another history", spec.EventRequest{Children: []string{"db"}, After: 700}, anybody, []string{"3 db started"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, latest := read(t, h, tt.request, tt.readable)
			wantBrief(t, got, tt.want...)
			if latest != 6 {
				t.Errorf("the latest is %d", latest)
			}
		})
	}
}

func TestTheNextServerGoesOn(t *testing.T) {
	line := func(seq int) string {
		return fmt.Sprintf(`{"seq":%d,"time":"2026-01-31T02:11:11Z","child":"web","type":"started"}`, seq)
	}
	tests := []struct {
		name, content string
		want          []string
	}{
		{"empty", "", []string{"1 web exited"}},
		{"whole", line(1) + "\n" + line(7) + "\n", []string{"1 web started", "7 web started", "8 web exited"}},
		{"without its last end", line(1) + "\n" + line(7), []string{"1 web started", "7 web started", "8 web exited"}},
		{"torn", line(1) + "\n" + line(7) + "\n" + line(8)[:40], []string{"1 web started", "7 web started", "8 web exited"}},
		{"torn behind a brace", line(1) + "\n" + `{"seq":8,"time":"2026-01-31T02:11:11Z","child":"web","type":"exited","exit":{"code":1}`, []string{"1 web started", "9 web exited"}},
		{"no events at its end", line(3) + "\n" + strings.Repeat("x\n", 3*end), []string{"3 web started", "4 web exited"}},
		{"a line longer than any", line(3) + "\n" + strings.Repeat("x", 3*end) + "\n" + line(4) + "\n", []string{"3 web started", "4 web started", "5 web exited"}},
		{"numbers that cannot be", line(3) + "\n" + `{"seq":18446744073709551615,"type":"started"}` + "\n" + `{"seq":0,"type":"started"}` + "\n" + `{"seq":-1,"type":"started"}` + "\n", []string{"3 web started", "4 web exited"}},
		{"members in another order", `{"type":"started","child":"web","seq":5}` + "\n", []string{"5 web started", "6 web exited"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileName), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			h := open(t, dir)
			h.Add(spec.Event{Child: "web", Type: spec.EventExited})
			wantBrief(t, readAll(t, h), tt.want...)
			h.Close()
			wantBrief(t, readAll(t, open(t, dir)), tt.want...)
		})
	}
}

func TestABootLeavesAGap(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(started("web", 1))
	h.Close()
	h = Open(Options{Dir: dir, NewBoot: true, Logger: slog.New(slog.DiscardHandler)})
	defer h.Close()
	if former := h.Former(); former.Seq != 1 || former.Type != spec.EventStarted {
		t.Errorf("former is %+v", former)
	}
	h.Add(started("web", 2))
	wantBrief(t, readAll(t, h), "1 web started", fmt.Sprintf("%d web started", bootGap+2))
}

func TestFormer(t *testing.T) {
	ends := spec.Event{Type: spec.EventServer, Server: spec.ServerEnds}
	var many []spec.Event
	for i := range uint64(1000) {
		many = append(many, started("web", i))
	}
	for _, tt := range []struct {
		name   string
		events []spec.Event
		want   spec.EventType
	}{
		{"nothing", nil, ""},
		{"its end", []spec.Event{started("web", 1), ends}, spec.EventServer},
		{"what happened while it ended", []spec.Event{ends, started("web", 1)}, spec.EventServer},
		{"long ago", append([]spec.Event{ends}, many...), spec.EventStarted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			h := open(t, dir)
			h.Add(tt.events...)
			h.Close()
			if got := open(t, dir).Former(); got.Type != tt.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWhatAServerSawDieIsNotToldTwice(t *testing.T) {
	dir := t.TempDir()
	exited := func(child string, incarnation uint64) spec.Event {
		return spec.Event{Child: child, Type: spec.EventExited, Incarnation: incarnation}
	}
	h := open(t, dir)
	h.Add(started("web", 1), exited("web", 1), started("db", 4), exited("gone", 1), spec.Event{Child: "gone", Type: spec.EventForgotten})
	h.Close()
	h = open(t, dir)
	for _, e := range []spec.Event{started("web", 1), exited("web", 1), exited("web", 2), started("db", 4), exited("db", 4), exited("gone", 1)} {
		h.AddOnce(e)
	}
	wantBrief(t, readAll(t, h), "1 web started", "2 web exited", "3 db started", "4 gone exited", "5 gone forgotten",
		"6 web exited", "7 db exited", "8 gone exited")
}

func TestCloseWritesWhatIsPending(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	for i := range uint64(1000) {
		h.Add(started("web", i))
	}
	h.Close()
	h.Add(started("late", 1))
	h.Close()
	if got := readAll(t, open(t, dir)); len(got) != 1000 {
		t.Errorf("%d events", len(got))
	}
}

func TestLeft(t *testing.T) {
	h := open(t, t.TempDir())
	h.Add(started("web", 1), started("db", 1), spec.Event{Type: spec.EventServer})
	left, err := h.Left(t.Context(), []string{"x", "db", "", "web"})
	slices.Sort(left)
	if err != nil || !slices.Equal(left, []string{"", "db", "web"}) {
		t.Errorf("%q, %v", left, err)
	}
}

func TestEventsAreBounded(t *testing.T) {
	h := open(t, t.TempDir())
	long := strings.Repeat("ü\x01", 40<<10)
	var lines []string
	for i := range 30 {
		lines = append(lines, fmt.Sprint(i, long))
	}
	h.Add(spec.Event{
		Child: strings.Repeat("\"", 250), Type: spec.EventExited, Message: long, By: long, Hook: long, Hash: long, Code: spec.Code(long),
		Verb: spec.Verb(long), Cause: spec.Cause(long), LastLines: lines, PIDs: make([]int, 10000),
	})
	h.Add(spec.Event{Child: long, Type: spec.EventExited})
	got := readAll(t, h)
	if len(got) != 2 || got[1].Type != spec.EventLost || got[1].Lost != 1 || h.Lost() != 1 {
		t.Fatalf("%d events, lost %d", len(got), h.Lost())
	}
	e := got[0]
	if len(e.Message) > maxMessage || len(e.By) > maxShort || len(e.LastLines) != maxLines || len(e.PIDs) != maxPIDs {
		t.Errorf("message %d, by %d, %d lines, %d pids", len(e.Message), len(e.By), len(e.LastLines), len(e.PIDs))
	}
	if !strings.HasPrefix(e.LastLines[9], "29ü") || !strings.HasSuffix(e.LastLines[9], "…") || len(e.LastLines[9]) > maxLastLine {
		t.Errorf("the last line is %q", e.LastLines[9])
	}
}

// Whoever follows hears of what comes, in order and once, and not before it was
// asked to stop.
func TestFollow(t *testing.T) {
	h := open(t, t.TempDir())
	h.Add(started("web", 1))
	follow := newFollower(t, h, spec.EventRequest{Children: []string{"web"}, Follow: true})
	follow.want("1 web started", "1  caught-up")
	h.Add(started("db", 1))
	h.Add(started("web", 2), started("web", 3))
	follow.want("3 web started", "4 web started")
	follow.leave()
}

// Who asks for none of what there is gets what comes, also of a file that was
// compacted or removed meanwhile.
func TestFollowWithoutATail(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(started("web", 1), started("db", 1), started("web", 2))
	none := 0
	follow := newFollower(t, h, spec.EventRequest{Children: []string{"web"}, Follow: true, Tail: &none})
	follow.want("3  caught-up")
	h.Add(started("db", 2), started("web", 3))
	follow.want("5 web started")
	if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	h.Add(started("web", 4))
	follow.want("6 web started")
	follow.leave()
}

// follower collects what a Send with Follow sends.
type follower struct {
	t      *testing.T
	events chan spec.Event
	leave  func()
}

func newFollower(t *testing.T, h *History, r spec.EventRequest) *follower {
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{t: t, events: make(chan spec.Event)}
	ended := make(chan error, 1)
	go func() {
		ended <- h.Send(ctx, r, anybody, func(batch []spec.Event) error {
			for _, e := range batch {
				select {
				case f.events <- e:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}()
	f.leave = func() {
		cancel()
		if err := <-ended; err != nil && err != context.Canceled {
			t.Errorf("follow: %v", err)
		}
	}
	return f
}

func (f *follower) want(want ...string) {
	f.t.Helper()
	for _, w := range want {
		if got := brief([]spec.Event{<-f.events})[0]; got != w {
			f.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

func TestFollowersEndWithTheHistory(t *testing.T) {
	h := open(t, t.TempDir())
	follow := newFollower(t, h, spec.EventRequest{Children: []string{spec.All}, Follow: true})
	follow.want("0  caught-up")
	h.Close()
	follow.leave()
}

func TestAFileThatWasRemovedIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.Add(started("web", 1))
	follow := newFollower(t, h, spec.EventRequest{Children: []string{spec.All}, Follow: true})
	follow.want("1 web started", "1  caught-up")
	if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	h.Add(started("web", 2))
	follow.want("2 web started")
	wantBrief(t, readAll(t, h), "2 web started")
	follow.leave()
}

func TestALinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir)
	h.Add(started("web", 1))
	h.Flush(t.Context())
	if h.Err() == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("it was written to")
	}
}

// TestWhatThereIsNoRoomForIsCounted: the disk does not take anything for long, and
// then does again.
func TestWhatThereIsNoRoomForIsCounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	h := open(t, dir)
	e := started("web", 1)
	e.Message = strings.Repeat("x", 1000)
	added := uint64(0)
	for h.Lost() < 10 {
		e.Child = fmt.Sprint("child-", added/perChild)
		h.Add(e)
		added++
	}
	if h.Err() == nil {
		t.Error("no error")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, h)
	last := got[len(got)-1]
	if last.Type != spec.EventLost || last.Lost != 10 || !strings.Contains(last.Message, "no such file") || uint64(len(got)-1) != added-10 {
		t.Errorf("%d of %d events, the last is %+v", len(got), added, last)
	}
	if size := (int(added) - 10) * 1000; size > 2*maxFailing {
		t.Errorf("%d bytes were pending", size)
	}
	for i, e := range got {
		if e.Seq != uint64(i+1) {
			t.Fatalf("number %d is %d", i+1, e.Seq)
		}
	}
	if h.Err() != nil || h.Lost() != 10 {
		t.Errorf("%v, lost %d", h.Err(), h.Lost())
	}
}
