package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
)

// hostsFile writes a hosts.yml.
func hostsFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestHostsOfTheFile(t *testing.T) {
	web := serveFake(t, controltest.New(controltest.Child("web")))
	db := serveFake(t, controltest.New(controltest.Child("web")))
	dead := unused(t)
	file := hostsFile(t, fmt.Sprintf("hosts: {web1: '%s', web2: '%s', db1: '%s'}\ngroups: {web: ['web*'], one: [db1], none: []}\n", web.tcp, dead, db.tcp))
	tests := []struct {
		name, on string
		status   int
		out, err string
	}{
		{"a name", "db1", exitOK, "web started, PID 101\n", ""},
		{"a group", "@web", exitUnreachable, "web1: web started, PID 101\n",
			"kita: web2: nothing listens on DEAD, is kita serve running there?\nkita: 1 of 2 hosts failed: web2 (unreachable)\n"},
		{"a pattern of one", "db?", exitOK, "db1: web started, PID 101\n", ""},
		{"a group of one", "@one", exitOK, "db1: web started, PID 101\n", ""},
		{"no such group", "@wbe", exitUsage, "", "kita: group \"@wbe\": FILE has no such group, there are @web, @one, @none\n"},
		{"an empty group", "@none", exitUsage, "", "kita: group \"@none\": it has no hosts in FILE\n"},
		{"no such host", "x*", exitUsage, "", "kita: hosts \"x*\": no host in FILE fits\n"},
	}
	replaced := strings.NewReplacer(dead, "DEAD", file, "FILE")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, tcp := range []string{web.tcp, db.tcp} {
				kita("", "stop", "all", "on", tcp)
			}
			// A generation is counted up by each start.
			status, out, stderr := kita("", "trystart", "web", "on", tt.on, "--hosts-file", file)
			out = pidsAre101(out)
			if status != tt.status || replaced.Replace(out) != tt.out || replaced.Replace(stderr) != tt.err {
				t.Errorf("status %d, want %d\nstdout %q, want %q\nstderr %q, want %q", status, tt.status, out, tt.out, replaced.Replace(stderr), tt.err)
			}
		})
	}
	status, out, _ := kita("", "trystart", "web", "-o", "json", "on", "@one", "--hosts-file", file)
	var answer map[string]spec.Outcome
	if err := json.Unmarshal([]byte(out), &answer); err != nil || status != exitOK || answer["db1"].Child != "web" {
		t.Errorf("a group of one as JSON: status %d, %v, %s", status, err, out)
	}
}

// pidsAre101 makes the PIDs of a fake the first one it gives.
func pidsAre101(out string) string {
	for pid := 102; pid < 120; pid++ {
		out = strings.ReplaceAll(out, fmt.Sprintf("PID %d\n", pid), "PID 101\n")
	}
	return out
}

func TestTheHostsFileIsReadOnlyForOn(t *testing.T) {
	server := serveFake(t, controltest.New(controltest.Child("web")))
	config := filepath.Join(t.TempDir(), "config")
	file := filepath.Join(config, "kita", "hosts.yml")
	t.Setenv("XDG_CONFIG_HOME", config)
	t.Setenv("HOME", config)
	if there, err := fleet.DefaultFile(); err != nil || there != file {
		t.Skipf("the configuration is in %s on this system, %v", there, err)
	}
	check := func(name string, wantStatus int, wantErr string, args ...string) {
		t.Helper()
		status, _, stderr := kita(server.socket, append([]string{"check"}, args...)...)
		if stderr = strings.ReplaceAll(stderr, file, "FILE"); status != wantStatus || stderr != wantErr {
			t.Errorf("%s: status %d, want %d, stderr %q, want %q", name, status, wantStatus, stderr, wantErr)
		}
	}
	check("no file", exitOK, "", "on", server.tcp)
	check("no file for a group", exitUsage, "kita: group \"@web\": groups stand in FILE, which is not there\n", "on", "@web")
	check("a file named and not there", exitUsage, "kita: --hosts-file /nowhere: there is no such file\n", "on", server.tcp, "--hosts-file", "/nowhere")
	check("a file and no on", exitUsage, "kita: --hosts-file /nowhere: it says what `on` means, and there is no `on`\n", "--hosts-file", "/nowhere")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("hots: {}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	check("a broken file and no on", exitOK, "")
	check("a broken file", exitFailed, "FILE:1: hots: unknown key, did you mean hosts?\n", "on", server.tcp)
	if err := errors.Join(os.WriteFile(file, []byte("hosts: {}\n"), 0o600), os.Chmod(file, 0o622)); err != nil {
		t.Fatal(err)
	}
	check("a file of others", exitFailed, "kita: hosts.yml: it decides which keys go where, and others can write FILE: chmod go-w FILE\n", "on", server.tcp)
}

func TestCompletionOffersHostsAndGroups(t *testing.T) {
	file := hostsFile(t, "hosts: {web1: a, db1: b, 'x*': {port: 1}}\ngroups: {all: ['*']}\n")
	for _, tt := range []struct{ args, want string }{
		{"check --hosts-file FILE on", "web1\ndb1\n@all\n:4\n"},
		{"check --hosts-file FILE --on", "web1\ndb1\n@all\n:4\n"},
	} {
		args := append([]string{"__complete"}, strings.Fields(strings.ReplaceAll(tt.args, "FILE", file))...)
		if _, out, _ := kita("", append(args, "")...); out != tt.want {
			t.Errorf("%s: got %q, want %q", tt.args, out, tt.want)
		}
	}
	if _, out, _ := kita("", "__complete", "check", "--hosts-file", file, "on", "web1,d"); out != "web1,db1\nweb1,@all\n:4\n" {
		t.Errorf("after a comma: %q", out)
	}
}

func TestWrongUseOfTheFanFlags(t *testing.T) {
	for args, want := range map[string]string{
		"check --parallel 0":                             "--parallel 0: at least one host",
		"start web --max-unavailable 0":                  "--max-unavailable 0: at least one host",
		"start web --serial --max-unavailable 2":         "--serial is --max-unavailable 1, give one of them",
		"start web --serial --parallel 2":                "--serial says how many hosts are asked at once",
		"start web --max-unavailable 2 --parallel 2":     "--max-unavailable says how many hosts are asked at once",
		"start web --serial --no-wait":                   "--serial waits for each host",
		"check --serial":                                 "unknown flag: --serial",
		"kill --max-unavailable 1":                       "unknown flag: --max-unavailable",
		"start web --max-unavailable 10%":                "invalid argument \"10%\"",
		"upgrade --max-unavailable 1 --serial on a,b":    "give one of them",
		"restart web --serial --max-unavailable 1 on a":  "give one of them",
		"trystart web --max-unavailable -1 on @nonsense": "--max-unavailable -1",
	} {
		if status, out, stderr := kita("", strings.Fields(args)...); status != exitUsage || !strings.Contains(stderr, want) || out != "" {
			t.Errorf("%s: status %d, %q, want %q", args, status, stderr, want)
		}
	}
}

// farm serves the same children on several hosts.
func farm(t *testing.T, services ...*controltest.Service) (on string, replaced *strings.Replacer) {
	t.Helper()
	var hosts, pairs []string
	for i, svc := range services {
		tcp := serveFake(t, svc).tcp
		hosts = append(hosts, tcp)
		pairs = append(pairs, tcp, fmt.Sprintf("H%d", i+1))
	}
	return strings.Join(hosts, ","), strings.NewReplacer(pairs...)
}

func answering(phase spec.Phase) func(context.Context, spec.Command) (spec.Outcome, error) {
	return func(_ context.Context, c spec.Command) (spec.Outcome, error) {
		out := spec.Outcome{Verb: c.Verb, Child: c.Child, Generation: 1, WasRunning: true}
		out.Status = spec.Status{Phase: phase, ObservedGeneration: 1}
		switch phase {
		case spec.PhaseRunning, spec.PhaseStarting:
			out.Status.Process = &spec.Process{PID: 7}
		case spec.PhaseExited:
			out.Status.LastExit = &spec.Exit{Known: true}
		default:
			out.Status.LastExit = &spec.Exit{Known: true, Code: 3}
		}
		return out, nil
	}
}

func doing(do func(context.Context, spec.Command) (spec.Outcome, error)) *controltest.Service {
	svc := controltest.New(controltest.Child("web"))
	svc.DoFunc = do
	return svc
}

func TestARollingChangeStopsAtTheFirstFailure(t *testing.T) {
	refuses := func(context.Context, spec.Command) (spec.Outcome, error) {
		return spec.Outcome{}, spec.Refuse(spec.CannotStart, spec.VerbRestart, "web", "web cannot be started: no such file")
	}
	tests := []struct {
		name     string
		second   *controltest.Service
		said     string
		why      string
		stopped  bool
		answered string
	}{
		{"all is well", doing(answering(spec.PhaseRunning)), "", "", false, "H2: web restarted, PID 7\n"},
		{"a job that is done", doing(answering(spec.PhaseExited)), "", "", false, "H2: web restarted, and has ended since: exit 0\n"},
		{"refused", doing(refuses), "web cannot be started: no such file", "cannot start", true, ""},
		{"it ended since", doing(answering(spec.PhaseFailed)), "web was started, and has ended since: exit 3", "cannot start", true, ""},
		{"it ended since and waits", doing(answering(spec.PhaseBackOff)), "web was started, and has ended since: exit 3", "cannot start", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			third := doing(answering(spec.PhaseRunning))
			on, replaced := farm(t, doing(answering(spec.PhaseRunning)), tt.second, third)
			status, out, stderr := kita("", "restart", "web", "--serial", "on", on)
			wantStatus, wantOut, wantErr := exitOK, "H1: web restarted, PID 7\n"+tt.answered+"H3: web restarted, PID 7\n", ""
			if tt.stopped {
				wantStatus, wantOut = exitFailed, "H1: web restarted, PID 7\n"
				wantErr = "kita: H2: " + tt.said + "\nkita: H3: not asked, because H2 failed\n" +
					"kita: 1 of 3 hosts failed: H2 (" + tt.why + "); 1 not asked\n"
			}
			if out, stderr = replaced.Replace(out), replaced.Replace(stderr); status != wantStatus || out != wantOut || stderr != wantErr {
				t.Errorf("status %d, want %d\nstdout %q, want %q\nstderr %q, want %q", status, wantStatus, out, wantOut, stderr, wantErr)
			}
			if asked := len(third.Commands()) > 0; asked == tt.stopped {
				t.Errorf("the third host was asked: %v", asked)
			}
		})
	}
}

func TestAnswersOfManyHostsAsText(t *testing.T) {
	busy := controltest.New(controltest.Child("web"), controltest.Child("db"))
	busy.SetRunning("web", 100)
	troubled := controltest.New(controltest.Child("web"))
	troubled.InfoValue = spec.Info{Problems: []string{"/srv/x: no such directory"}}
	on, replaced := farm(t, busy, controltest.New(), troubled)
	dead := unused(t)
	for _, command := range []string{"check", "check web"} {
		status, out, stderr := kita("", append(strings.Fields(command), "on", on+","+dead)...)
		text := fmt.Sprintf("%s-- stderr --\n%s-- status %d --\n", out, stderr, status)
		golden(t, "many-"+strings.ReplaceAll(command, " ", "-"), replaced.Replace(strings.ReplaceAll(text, dead, "DEAD")))
	}
	_, out, _ := kita("", "restart", "web", "--serial", "-o", "json", "on", on)
	golden(t, "many-rolling-json", replaced.Replace(out))
}

func TestARollingChangeWaitsUntilTheChildRuns(t *testing.T) {
	view := func(phase spec.Phase, observed uint64) spec.Change {
		v := spec.View{Name: "web", Desired: spec.Desired{Generation: 1}, Status: spec.Status{Phase: phase, ObservedGeneration: observed}}
		switch phase {
		case spec.PhaseRunning, spec.PhaseStarting:
			v.Status.Process = &spec.Process{PID: 8}
		default:
			v.Status.LastExit = &spec.Exit{Known: true, Code: 4}
		}
		return spec.Change{Type: spec.Present, View: v}
	}
	newer := view(spec.PhaseStarting, 1)
	newer.View.Desired.Generation = 2
	tests := []struct {
		name    string
		changes []spec.Change
		out     string
		err     string
	}{
		{"it runs", []spec.Change{{Type: spec.Present, View: spec.View{Name: "db", Status: spec.Status{Phase: spec.PhaseFailed}}},
			view(spec.PhaseFailed, 0), view(spec.PhaseStarting, 1), view(spec.PhaseRunning, 1)}, "web restarted, PID 8\n", ""},
		{"it ends", []spec.Change{view(spec.PhaseStarting, 1), view(spec.PhaseFailed, 1)}, "", "kita: web was started, and has ended since: exit 4\n"},
		{"another command", []spec.Change{newer}, "", "kita: restart web: another command came after it before the child was seen to run\n"},
		{"it is never seen", nil, "", "kita: web was started, but was not seen to run in the time it had\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			svc := doing(answering(spec.PhaseStarting))
			svc.WatchFunc = func(ctx context.Context) <-chan spec.Change {
				changes := make(chan spec.Change)
				go func() {
					defer close(changes)
					for _, c := range tt.changes {
						select {
						case changes <- c:
						case <-ctx.Done():
							return
						}
					}
					<-ctx.Done()
				}()
				return changes
			}
			timeout := "1m"
			if tt.changes == nil {
				timeout = "1s"
			}
			status, out, stderr := kita(serveFake(t, svc).socket, "restart", "web", "--serial", "--timeout", timeout)
			if out != tt.out || stderr != tt.err || (status == exitOK) != (tt.err == "") {
				t.Errorf("status %d\nstdout %q, want %q\nstderr %q, want %q", status, out, tt.out, stderr, tt.err)
			}
		})
	}
}

func TestAtMostSoManyAreUnavailable(t *testing.T) {
	var now, most atomic.Int32
	var services []*controltest.Service
	for range 6 {
		services = append(services, doing(func(ctx context.Context, c spec.Command) (spec.Outcome, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			return answering(spec.PhaseRunning)(ctx, c)
		}))
	}
	on, _ := farm(t, services...)
	if status, _, stderr := kita("", "restart", "web", "--max-unavailable", "2", "on", on); status != exitOK {
		t.Fatal(stderr)
	}
	if most.Load() > 2 {
		t.Errorf("%d hosts were asked at once", most.Load())
	}
}

// TestAnswersAreThereBeforeTheLast: the last host answers only when the answer
// of the first has been printed.
func TestAnswersAreThereBeforeTheLast(t *testing.T) {
	for _, format := range []string{"", "json", "yaml"} {
		printed := newLog("101")
		last := doing(func(ctx context.Context, c spec.Command) (spec.Outcome, error) {
			select {
			case <-printed.waiting:
			case <-ctx.Done():
				return spec.Outcome{}, ctx.Err()
			}
			return answering(spec.PhaseRunning)(ctx, c)
		})
		on, _ := farm(t, controltest.New(controltest.Child("web")), last)
		var stderr bytes.Buffer
		p := &program{name: "kita", out: printed, err: &stderr, now: time.Now}
		root := p.rootCommand(nil)
		root.SetArgs([]string{"start", "web", "on", on, "-o", format})
		if status := p.finish(root.Execute()); status != exitOK {
			t.Errorf("-o %q: status %d, %s%s", format, status, printed, &stderr)
		}
	}
}

func TestCtrlCReportsWhoWasNotAsked(t *testing.T) {
	asked := make(chan struct{})
	hangs := doing(func(ctx context.Context, _ spec.Command) (spec.Outcome, error) {
		close(asked)
		<-ctx.Done()
		return spec.Outcome{}, ctx.Err()
	})
	on, replaced := farm(t, controltest.New(controltest.Child("web")), hangs, controltest.New(controltest.Child("web")))
	go func() {
		<-asked
		// It is caught, for the fan-out is under way.
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	status, out, stderr := kita("", "start", "web", "on", on, "--parallel", "1")
	want := "kita: H2: the command was interrupted\nkita: H3: not asked, because the command was interrupted\n" +
		"kita: 1 of 3 hosts failed: H2 (interrupted); 1 not asked\n"
	if got := replaced.Replace(stderr); status != exitFailed || replaced.Replace(out) != "H1: web started, PID 101\n" || got != want {
		t.Errorf("status %d, stdout %q\nstderr %q, want %q", status, out, got, want)
	}
}

func TestSummary(t *testing.T) {
	s := newSummary(request{hosts: make([]fleet.Host, 1000)})
	for i := range 20 {
		s.add(fleet.Host{Label: fmt.Sprintf("web%d", i)}, exitFailed, spec.Refuse(spec.NotFound, "", "", "gone"))
	}
	s.add(fleet.Host{Label: "db1"}, exitNotRunning, nil)
	s.add(fleet.Host{Label: "db2"}, exitOK, nil)
	s.add(fleet.Host{Label: "db3"}, exitFailed, &fleet.NotAsked{Because: errors.New("no time")})
	want := "21 of 1000 hosts failed: web0, web1, web2, web3, web4 and 15 more (not found), db1 (not running); 1 not asked"
	if got := s.line(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var terminal bytes.Buffer
		s := &screen{w: &terminal, width: func() int { return 40 }}
		p := &program{screen: s}
		stdout := s.over(&terminal)
		step := func(want string) {
			t.Helper()
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if got := terminal.String(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			terminal.Reset()
		}
		quick := p.startProgress(2)
		quick.count(false)
		quick.end()
		step("")

		g := p.startProgress(1000)
		for range 37 {
			g.count(false)
		}
		time.Sleep(progressAfter)
		step("37 of 1000 answered")
		g.count(true)
		time.Sleep(progressEvery)
		step("\r\x1b[K37 of 1000 answered, 1 failed")
		time.Sleep(progressEvery)
		step("")
		fmt.Fprintln(stdout, "web1: good")
		fmt.Fprintln(stdout, "web2: good")
		step("\r\x1b[Kweb1: good\nweb2: good\n")
		time.Sleep(progressEvery)
		step("37 of 1000 answered, 1 failed")
		g.end()
		g.end()
		step("\r\x1b[K")

		s.width = func() int { return 10 }
		s.draw("37 of 1000 answered")
		step("37 of 100")
		if p.startProgress(1) != nil || (&program{}).startProgress(2) != nil {
			t.Error("there is progress where none can be shown")
		}
	})
}
