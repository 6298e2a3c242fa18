package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/control"
	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
)

// eventfulService has two children and what happened to them.
func eventfulService() *controltest.Service {
	svc := controltest.New(controltest.Child("web"), controltest.Child("db"))
	at := func(minutes int) time.Time { return controltest.Started.Add(time.Duration(minutes) * time.Minute) }
	next := at(9)
	svc.Record(
		spec.Event{At: at(0), Type: spec.EventServer, Message: "started"},
		spec.Event{At: at(1), Child: "web", Type: spec.EventCommand, Verb: spec.VerbStart, By: "ssh:ops@10.0.0.7", Generation: 1},
		spec.Event{At: at(1), Child: "web", Type: spec.EventStarted, PID: 71, Incarnation: 1, Generation: 1, Cause: spec.CauseCommand},
		spec.Event{At: at(2), Child: "db", Type: spec.EventRefused, Verb: spec.VerbStart, By: "unix:0", Code: spec.InvalidFile, Message: "/srv/children/db.yml:1: \x1b[2Jbad\n/srv/children/db.yml:2: bad"},
		spec.Event{At: at(3), Child: "web", Type: spec.EventExited, Incarnation: 1, Ran: spec.Duration(2 * time.Minute), Attempt: 1,
			Exit: &spec.Exit{Incarnation: 1, Known: true, Code: 127, At: at(3)}, LastLines: []string{"<not> found\u2028"}},
		spec.Event{At: at(3), Child: "web", Type: spec.EventBackOff, Attempt: 1, Next: &next},
		spec.Event{At: at(4), Type: spec.EventLost, Lost: 3, Message: "no space left on device"},
	)
	return svc
}

func TestEvents(t *testing.T) {
	server := serveFake(t, eventfulService())
	const (
		theServer = "2026-01-31 02:11:11  -         the server started\n"
		web       = "2026-01-31 02:12:11  web       start by key ops from 10.0.0.7\n" +
			"2026-01-31 02:12:11  web       started, PID 71\n" +
			"2026-01-31 02:14:11  web       exit 127 (command not found) after 2m00s\n" +
			"2026-01-31 02:14:11  web       back-off, attempt 1, next start at 02:20:11\n"
		db   = "2026-01-31 02:13:11  db        start by root on this host was refused: /srv/children/db.yml:1: \\x1b[2Jbad (and 1 more)\n"
		lost = "2026-01-31 02:15:11  -         3 events before this could not be written: no space left on device\n"
	)
	lines := strings.SplitAfter(web, "\n")
	for _, tt := range []struct {
		name, args string
		status     int
		out, err   string
	}{
		{"all", "events", exitOK, theServer + lines[0] + lines[1] + db + lines[2] + lines[3] + lines[4] + lost, ""},
		{"all, by name", "events all", exitOK, theServer + lines[0] + lines[1] + db + lines[2] + lines[3] + lines[4] + lost, ""},
		{"one", "events web", exitOK, web, ""},
		{"several", "events db web --type refused,exited", exitOK, db + lines[2], ""},
		{"the latest", "events web -n 1", exitOK, lines[3], ""},
		{"none", "events --tail 0", exitOK, "", ""},
		{"the latest of a type", "events --type started --type=command -n 1", exitOK, lines[1], ""},
		{"since", "events --since 2026-01-31T02:15:00Z", exitOK, lost, ""},
		{"one that is not there", "events nope db", exitFailed, db,
			"kita: there is no child \"nope\": no file of that name is in the load paths, and it has left no events\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, out, stderr := kita(server.socket, strings.Fields(tt.args)...)
			if status != tt.status || out != tt.out || stderr != tt.err {
				t.Errorf("status %d, stdout\n%s\nwant\n%s\nstderr %q, want %q", status, out, tt.out, stderr, tt.err)
			}
		})
	}
	status, out, _ := kita("", "events", "on", server.tcp)
	if status != exitOK || !strings.HasPrefix(out, theServer) {
		t.Errorf("over TCP: status %d, %s", status, out)
	}
}

func TestWrongUseOfWhyAndEvents(t *testing.T) {
	server := serveFake(t, eventfulService())
	for args, want := range map[string]string{
		"events -n -1":            "--tail -1: give how many of the latest events",
		"events --type":           "flag needs an argument: --type",
		"events --type=":          "--type: give one or more of command, refused,",
		"events --type born":      "--type born: give one or more of command, refused, started,",
		"events --since tomorrow": "--since tomorrow: give how long ago, as in 10m or 2d",
		"events -o yaml":          "-o yaml: events takes json",
		"events -o wide":          "-o wide: events takes json",
		"events all web":          "\"all\" is every child, write events all",
		"events start":            "\"start\" is a command, a child cannot have its name",
		"events on":               "\"on\" is the last word",
		"events -f --parallel 3":  "--parallel: all hosts are asked at once",
		"events --legacy":         "unknown flag: --legacy",
		"why":                     "which child do you mean?",
		"why web db":              "why takes one child: \"db\" is one word too many",
		"why all":                 "why takes one child; `kita check` shows all",
		"why web -o wide":         "-o wide: why takes json or yaml",
		"why web -f":              "unknown shorthand flag: 'f'",
	} {
		status, out, stderr := kita(server.socket, strings.Fields(args)...)
		if status != exitUsage || out != "" || !strings.HasPrefix(stderr, "kita: "+want) {
			t.Errorf("%s: status %d, stdout %q, stderr %q, want %q", args, status, out, stderr, want)
		}
	}
}

func TestWhatIsAskedOfTheHistory(t *testing.T) {
	svc := eventfulService()
	server := serveFake(t, svc)
	kita(server.socket, "events", "web", "db", "-n", "7", "--since", "1d12h", "--type", "exited,hook")
	kita(server.socket, "events")
	asked := svc.Wanted()
	if len(asked) != 2 {
		t.Fatalf("%d requests", len(asked))
	}
	if r := asked[0]; !slices.Equal(r.Children, []string{"db", "web"}) || *r.Tail != 7 || r.Age.D() != 36*time.Hour || r.Follow ||
		!slices.Equal(r.Types, []spec.EventType{spec.EventExited, spec.EventHook}) {
		t.Errorf("asked %+v", r)
	}
	if r := asked[1]; !slices.Equal(r.Children, []string{spec.All}) || r.Tail != nil || r.Types != nil {
		t.Errorf("asked %+v", r)
	}
}

func TestEventsAsJSON(t *testing.T) {
	server := serveFake(t, eventfulService())
	status, out, _ := kita(server.socket, "events", "-o", "json", "web", "--type", "exited,backoff")
	if status != exitOK {
		t.Fatalf("status %d", status)
	}
	golden(t, "events-json", out)
	for line := range strings.Lines(out) {
		var e eventLine
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Host != "" || e.Child != "web" || e.Seq == 0 {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Of several hosts what happened first is told first, whoever answers first.
func TestEventsOfManyHostsAreInTheOrderOfTheirTime(t *testing.T) {
	const n = 3000 // more than a host may be ahead
	minute := func(i int) time.Time { return controltest.Started.Add(time.Duration(i) * time.Second) }
	one, another := controltest.New(controltest.Child("web")), controltest.New(controltest.Child("web"))
	for i := range n {
		// All of one lies before the end of the other.
		one.Record(spec.Event{At: minute(i), Child: "web", Type: spec.EventStarted, PID: i})
		another.Record(spec.Event{At: minute(2 * i), Child: "web", Type: spec.EventStarted, PID: i})
	}
	file := hostsFile(t, "hosts: {one: '"+serveFake(t, one).tcp+"', another: '"+serveFake(t, another).tcp+"', dead: '"+unused(t)+"'}\n")
	status, out, stderr := kita("", "events", "web", "-o", "json", "on", "one,another,dead", "--hosts-file", file)
	if status != exitUnreachable || !strings.Contains(stderr, "kita: dead: nothing listens") || !strings.Contains(stderr, "1 of 3 hosts failed: dead (unreachable)") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	var before time.Time
	hosts := map[string]int{}
	var failed []string
	for line := range strings.Lines(out) {
		var e struct {
			eventLine
			Failure spec.Code `json:"code"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Failure != "" {
			failed = append(failed, e.Host+" "+string(e.Failure))
			continue
		}
		if e.At.Before(before) {
			t.Fatalf("%v comes after %v", e.At, before)
		}
		before = e.At
		hosts[e.Host]++
	}
	if hosts["one"] != n || hosts["another"] != n || len(hosts) != 2 || !slices.Equal(failed, []string{"dead unreachable"}) {
		t.Errorf("events of %v, without an answer %q", hosts, failed)
	}
	status, out, _ = kita("", "events", "web", "-n", "1", "on", "one,another", "--hosts-file", file)
	if want := "2026-01-31 03:01:10  one      web       started, PID 2999\n2026-01-31 03:51:09  another  web       started, PID 2999\n"; status != exitOK || out != want {
		t.Errorf("status %d, stdout %q", status, out)
	}
	if status, _, stderr := kita("", "events", "on", "one,another", "--parallel", "1", "--hosts-file", file); status != exitUsage {
		t.Errorf("--parallel: status %d, stderr %q", status, stderr)
	}
	// A reader that has had enough ends all of it.
	var complaints bytes.Buffer
	p := &program{name: "kita", out: &brokenPipe{5}, err: &complaints, now: time.Now, defaultSocket: func() (string, bool) { return "", false }}
	root := p.rootCommand(nil)
	root.SetArgs([]string{"events", "on", "one,another", "--hosts-file", file})
	if status := p.finish(root.Execute()); status != exitOK || complaints.Len() > 0 {
		t.Errorf("a closed pipe: status %d, stderr %q", status, &complaints)
	}
	p.out = fullDisk{}
	root = p.rootCommand(nil)
	root.SetArgs([]string{"events", "on", "one,another", "--hosts-file", file})
	if status := p.finish(root.Execute()); status != exitFailed || complaints.String() != "kita: write the output: no space left on device\n" {
		t.Errorf("a full disk: status %d, stderr %q", status, &complaints)
	}
}

func TestAFullDiskEndsTheEventsOfOneHost(t *testing.T) {
	server := serveFake(t, eventfulService())
	var stderr bytes.Buffer
	p := &program{name: "kita", out: fullDisk{}, err: &stderr, now: time.Now, defaultSocket: func() (string, bool) { return server.socket, true }}
	root := p.rootCommand(nil)
	root.SetArgs([]string{"events"})
	if status := p.finish(root.Execute()); status != exitFailed || stderr.String() != "kita: write the output: no space left on device\n" {
		t.Errorf("status %d, stderr %q", status, &stderr)
	}
}

func TestEventsAreFollowedOverServers(t *testing.T) {
	svc := eventfulService()
	socket := filepath.Join(shortDir(t), socketName)
	end := serveAt(t, svc, socket)
	r := begin(t, socket, "events web -f -n 1")
	r.out.await(t, "back-off")
	svc.Record(spec.Event{At: controltest.Started, Child: "web", Type: spec.EventStarted, PID: 72})
	r.out.await(t, "PID 72")
	end()
	r.stderr.await(t, "trying to go on")
	svc.Record(spec.Event{At: controltest.Started, Child: "web", Type: spec.EventAdopted, PID: 72})
	defer serveAt(t, svc, socket)()
	r.out.await(t, "taken over")
	if n := strings.Count(r.out.String(), "\n"); n != 3 {
		t.Errorf("stdout %q", &r.out)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := r.wait(); status != exitOK {
		t.Errorf("Ctrl-C: status %d, stderr %q", status, &r.stderr)
	}
}

// The time limit is for the beginning, also where nothing has happened yet.
func TestTheTimeLimitDoesNotEndSilentEvents(t *testing.T) {
	svc := controltest.New(controltest.Child("web"))
	server := serveFake(t, svc)
	r := begin(t, server.socket, "events -f --timeout 2s")
	// The limit has to pass.
	time.Sleep(2100 * time.Millisecond)
	svc.Record(spec.Event{At: controltest.Started, Child: "web", Type: spec.EventForgotten})
	r.out.await(t, "forgotten")
	svc.EventsFunc = func(ctx context.Context, _ spec.EventRequest, _ func(string) bool, _ func([]spec.Event) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if status, _, stderr := kita(server.socket, "events", "-f", "--timeout", "50ms"); status != exitUnreachable || !strings.Contains(stderr, "did not answer in time") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

func TestAReaderOfEventsThatLeavesEndsThem(t *testing.T) {
	server := serveFake(t, eventfulService())
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	var stderr bytes.Buffer
	p := &program{name: "kita", out: writer, err: &stderr, now: time.Now, defaultSocket: func() (string, bool) { return server.socket, true }}
	root := p.rootCommand(nil)
	root.SetArgs([]string{"events", "-f", "-n", "0"})
	ended := make(chan int, 1)
	go func() { ended <- p.finish(root.Execute()) }()
	_ = reader.Close()
	select {
	case status := <-ended:
		if status != exitOK || stderr.Len() > 0 {
			t.Errorf("status %d, stderr %q", status, &stderr)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestWhyAndEventsOverSSHAreThoseOfKita(t *testing.T) {
	server := serveFake(t, eventfulService())
	for _, line := range []string{"events", "events web -n 1 -o json", "events nope", "events --type x", "why web -o json", "why nope", "why", "why web db"} {
		wantStatus, wantOut, wantErr := kita(server.socket, strings.Fields(line)...)
		status, out, stderr := overSSH(t.Context(), server.socket, line)
		if strings.HasPrefix(line, "why web -o") {
			// The clocks differ, the times do not.
			wantOut, out = withoutAges(wantOut), withoutAges(out)
		}
		if status != wantStatus || out != wantOut || stderr != wantErr {
			t.Errorf("%s: status %d, want %d\nstdout %q, want %q\nstderr %q, want %q", line, status, wantStatus, out, wantOut, stderr, wantErr)
		}
	}
	for line, want := range map[string]string{
		"why web on h":   "kita: over SSH only this server is asked, leave out `on` and `with`: use why web\n",
		"events on h":    "kita: over SSH only this server is asked, leave out `on` and `with`: use events all\n",
		"events --on h":  "kita: unknown flag: --on, see `kita events --help`\n",
		"why --socket h": "kita: unknown flag: --socket, see `kita why --help`\n",
	} {
		if status, _, stderr := overSSH(t.Context(), "", line); status != exitUsage || stderr != want {
			t.Errorf("%s: status %d, stderr %q", line, status, stderr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := new(watched), make(chan int, 1)
	go func() {
		ended <- execLine(ctx, control.Exec{
			Line: "events -f", By: "ssh:ops@127.0.0.1", Stdout: out, Stderr: new(watched),
			Dial: func(ctx context.Context) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", server.socket)
			},
		}, slog.New(slog.DiscardHandler))
	}()
	out.await(t, "could not be written")
	cancel()
	<-ended
}

// withoutAges cuts off what a clock says.
func withoutAges(answer string) string {
	before, _, _ := strings.Cut(answer, ` (`)
	return before
}

func TestTypesAreCompleted(t *testing.T) {
	server := serveFake(t, eventfulService())
	status, out, _ := kita(server.socket, "__complete", "events", "--type", "exited,c")
	if status != exitOK || !strings.Contains(out, "exited,command\n") || strings.Contains(out, "exited,exited") {
		t.Errorf("status %d, %s", status, out)
	}
	for _, command := range []string{"why", "events"} {
		if _, out, _ := kita(server.socket, "__complete", command, ""); !strings.Contains(out, "web\tstopped") || strings.Contains(out, "all\t") != (command == "events") {
			t.Errorf("%s: %s", command, out)
		}
		_, out, _ := kita(server.socket, "__complete", command, "web", "-o", "")
		if want := map[string]string{"why": "json\nyaml\n:", "events": "json\n:"}[command]; !strings.HasPrefix(out, want) {
			t.Errorf("%s -o: %s", command, out)
		}
	}
}

// 10,000 events of a long history cost no more memory than a few of them: they
// are written as they come.
func TestManyEventsAreWrittenAsTheyCome(t *testing.T) {
	svc := controltest.New(controltest.Child("web"))
	const n = 10000
	svc.EventsFunc = func(_ context.Context, _ spec.EventRequest, _ func(string) bool, send func([]spec.Event) error) error {
		for i := range n {
			if err := send([]spec.Event{{Seq: uint64(i + 1), At: controltest.Started, Child: "web", Type: spec.EventStarted, PID: i}}); err != nil {
				return err
			}
		}
		return send([]spec.Event{{Type: spec.EventCaughtUp}})
	}
	server := serveFake(t, svc)
	status, out, stderr := kita(server.socket, "events", "web")
	if status != exitOK || strings.Count(out, "\n") != n || !strings.HasSuffix(out, fmt.Sprintf("started, PID %d\n", n-1)) {
		t.Errorf("status %d, %d lines, stderr %q", status, strings.Count(out, "\n"), stderr)
	}
}

func TestEventsInColour(t *testing.T) {
	var b bytes.Buffer
	p := &program{name: "kita", out: &b, colour: true, now: func() time.Time { return controltest.Started }}
	printer := newEventPrinter(p, request{hosts: []fleet.Host{fleet.Local}, many: true}, true)
	for _, e := range []spec.Event{
		{Child: "web", Type: spec.EventExited, Exit: &spec.Exit{Known: true, Code: 1}},
		{Child: "web", Type: spec.EventBackOff, Attempt: 2},
		{Child: "a-name\x1b[2J-that-is-long", Type: spec.EventForgotten},
		{Child: "web", Type: spec.EventHook, Hook: "prehook start db", Message: "it\r\nfailed"},
	} {
		e.At = controltest.Started
		if err := printer.print(fleet.Local, e); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "events-colour", b.String())
}
