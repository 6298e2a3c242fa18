package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
)

// writingService has web with two files, db with one for both streams, and quiet
// without any.
func writingService() *controltest.Service {
	svc := controltest.New(controltest.Child("web"), controltest.Child("db"), controltest.Child("quiet"), controltest.Child("a-long-name"))
	svc.Write("web", "one\ntwo\n", spec.Out)
	svc.Write("web", "oops\n", spec.Err)
	svc.Write("db", "ready\x1b[1m\r\n<b>\u2028\n\xff\nunfinished", spec.Out, spec.Err)
	return svc
}

func TestLogs(t *testing.T) {
	server := serveFake(t, writingService())
	const dbRaw = "ready\x1b[1m\r\n<b>\u2028\n\xff\nunfinished"
	tests := []struct {
		name, args string
		status     int
		out, err   string
	}{
		{"one child is its bytes", "logs db", exitOK, dbRaw, ""},
		{"over TCP", "logs db on " + server.tcp, exitOK, dbRaw, ""},
		{"both files of one", "logs web", exitOK, "one\ntwo\noops\n", ""},
		{"one stream", "logs web --stream err", exitOK, "oops\n", ""},
		{"the last lines", "logs web --tail 1", exitOK, "two\noops\n", ""},
		{"the last lines in short", "logs web -n 1", exitOK, "two\noops\n", ""},
		{"no line", "logs web --tail 0", exitOK, "", ""},
		{"several", "logs web db", exitOK, "web | one\nweb | two\nweb | oops\ndb  | ready\x1b[1m\r\ndb  | <b>\u2028\ndb  | \xff\ndb  | unfinished\n", ""},
		{"named twice", "logs web web --tail 1", exitOK, "two\noops\n", ""},
		{"all", "logs all --tail 1", exitOK, "web         | two\nweb         | oops\ndb          | unfinished\n", ""},
		{"no such child", "logs nope", exitFailed, "", "kita: there is no child \"nope\": no file of that name is in the load paths\n"},
		{"some are not there", "logs nope web quiet never --stream err", exitFailed, "web   | oops\n", "kita: there is no child \"never\": no file of that name is in the load paths\n" +
			"kita: there is no child \"nope\": no file of that name is in the load paths\nkita: logs quiet: it has no output file"},
		{"no output file", "logs quiet", exitFailed, "", "kita: logs quiet: it has no output file, what it writes to the server's own output or to a device cannot be read again: set `output: auto` in its file, or output_dir in server.yml, and restart it\n"},
		{"a bad expression", "logs web --grep (", exitFailed, "", "kita: logs: grep: error parsing regexp: missing closing ): `(`, see https://golang.org/s/re2syntax\n"},
		{"the paths", "logs web --path", exitOK, "/srv/log/web/out.log\n/srv/log/web/err.log\n", ""},
		{"the path of a stream", "logs --path web --stream err", exitOK, "/srv/log/web/err.log\n", ""},
		{"the path of both streams", "logs --path db --stream err", exitOK, "/srv/log/db/out+err.log\n", ""},
		{"no path", "logs quiet --path", exitFailed, "", "kita: logs quiet: it has no output file"},
		{"no path of a child that is not there", "logs nope --path", exitFailed, "", "kita: there is no child \"nope\""},
		{"rotate", "rotate web", exitOK, "/srv/log/web/out.log.1 (8 bytes)\n/srv/log/web/err.log.1 (5 bytes)\n", ""},
		{"rotate nothing", "rotate quiet", exitOK, "nothing was written since the last time\n", ""},
		{"what cannot be a name", "logs ../x --path", exitFailed, "", "kita: there is no child \"../x\": no file of that name is in the load paths\n"},
		{"rotate what cannot be a name", "rotate ../x", exitFailed, "", "kita: there is no child \"../x\""},
		{"rotate what is not there", "rotate nope", exitFailed, "", "kita: there is no child \"nope\""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, out, stderr := kita(server.socket, strings.Fields(tt.args)...)
			if status != tt.status || out != tt.out || !strings.HasPrefix(stderr, tt.err) || tt.err == "" && stderr != "" {
				t.Errorf("status %d, want %d\nstdout %q, want %q\nstderr %q, want %q", status, tt.status, out, tt.out, stderr, tt.err)
			}
		})
	}
}

func TestWrongUseOfLogs(t *testing.T) {
	server := serveFake(t, writingService())
	for args, want := range map[string]string{
		"logs":                                  "which child do you mean? write `logs CHILD`, or `logs all`",
		"logs on h":                             "which child do you mean?",
		"logs all web":                          "\"all\" is every child, write logs all",
		"logs web start":                        "\"start\" is a command, a child cannot have its name",
		"logs web on":                           "\"on\" is the last word, what comes after it?",
		"logs web --tail -1":                    "--tail -1: give how many of the last lines",
		"logs web --tail some":                  "invalid argument \"some\" for \"-n, --tail\" flag: give a whole number",
		"logs web --stream both":                "--stream both: give out or err",
		"logs web --since yesterday":            "--since yesterday: give how long ago, as in 10m or 2d, or when, as in 2026-01-31T05:16:11Z",
		"logs web --since -5m":                  "--since -5m: give how long ago",
		"logs web --since 0s":                   "--since 0s: give how long ago",
		"logs web --path -f":                    "--path shows where the files are, it can be combined with --stream and -o json only",
		"logs web --path --tail 5":              "--path shows where the files are",
		"logs web db --path":                    "--path is for one child",
		"logs all --path":                       "--path is for one child",
		"logs web -f --parallel 5":              "--parallel: all hosts are followed at once, leave it out",
		"logs web -o yaml":                      "-o yaml: logs takes json",
		"logs web --socket /s on " + server.tcp: "--socket is for the server of this host",
		"rotate":                                "which child do you mean? write `rotate CHILD`",
		"rotate web db":                         "rotate takes one child, or all: \"db\" is one word too many",
		"logs web --legacy":                     "unknown flag: --legacy",
	} {
		status, out, stderr := kita(server.socket, strings.Fields(args)...)
		if status != exitUsage || out != "" || !strings.HasPrefix(stderr, "kita: "+want) {
			t.Errorf("%s: status %d, stdout %q, stderr %q, want %q", args, status, out, stderr, want)
		}
	}
}

// A child may have the name of a command that supervisor-rs does not have, or of
// a preposition.
func TestChildrenWithTheNamesOfCommands(t *testing.T) {
	svc := controltest.New(controltest.Child("logs"), controltest.Child("rotate"), controltest.Child("with"))
	for _, name := range []string{"logs", "rotate", "with"} {
		svc.Write(name, name+"\n", spec.Out)
	}
	server := serveFake(t, svc)
	for args, want := range map[string]string{
		"logs logs":        "logs\n",
		"logs with":        "with\n",
		"logs rotate logs": "logs   | logs\nrotate | rotate\n",
		"start logs":       "logs started, PID 101\n",
	} {
		if status, out, stderr := kita(server.socket, strings.Fields(args)...); status != exitOK || out != want {
			t.Errorf("%s: status %d, stdout %q, stderr %q", args, status, out, stderr)
		}
	}
}

func TestWhatIsAskedOfTheServer(t *testing.T) {
	svc := writingService()
	server := serveFake(t, svc)
	status, _, stderr := kita(server.socket, "logs", "web", "db", "--tail", "7", "--since", "1d12h", "--grep", "a b", "--stream", "out")
	kita(server.socket, "logs", "all", "--since", "2026-01-31T02:11:11+02:00")
	asked := svc.Asked()
	if len(asked) != 2 || status != exitOK {
		t.Fatalf("%d requests, status %d, %s", len(asked), status, stderr)
	}
	if r := asked[0]; !slices.Equal(r.Children, []string{"db", "web"}) || *r.Tail != 7 || r.Age.D() != 36*time.Hour || r.Grep != "a b" || r.Stream != spec.Out || r.Follow || !r.Since.IsZero() {
		t.Errorf("asked %+v", r)
	}
	if r := asked[1]; r.Tail != nil || r.Age != 0 || !r.Since.Equal(time.Date(2026, 1, 31, 0, 11, 11, 0, time.UTC)) || r.Stream != "" {
		t.Errorf("asked %+v", r)
	}
}

func TestLogsOfManyHosts(t *testing.T) {
	file := hostsFile(t, "hosts: {one: '"+serveFake(t, writingService()).tcp+"', another: '"+serveFake(t, writingService()).tcp+"', dead: '"+unused(t)+"'}\n")
	status, out, stderr := kita("", "logs", "web", "--stream", "out", "on", "one,another,dead", "--hosts-file", file)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	slices.Sort(lines)
	want := []string{"another web | one", "another web | two", "one     web | one", "one     web | two"}
	if status != exitUnreachable || !slices.Equal(lines, want) || !strings.Contains(stderr, "kita: dead: nothing listens") || !strings.Contains(stderr, "1 of 3 hosts failed: dead (unreachable)") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
	status, out, stderr = kita("", "logs", "web", "--path", "--stream", "out", "on", "one,another", "--hosts-file", file)
	if want := "one: /srv/log/web/out.log\nanother: /srv/log/web/out.log\n"; status != exitOK || out != want {
		t.Errorf("paths: status %d, stdout %q, stderr %q", status, out, stderr)
	}
}

// What a host does not have of several children keeps back none of the others.
func TestLogsOfChildrenThatSomeHostsLack(t *testing.T) {
	other := controltest.New(controltest.Child("db"))
	other.Write("db", "there\n", spec.Out)
	file := hostsFile(t, "hosts: {one: '"+serveFake(t, writingService()).tcp+"', another: '"+serveFake(t, other).tcp+"'}\n")
	status, out, stderr := kita("", "logs", "web", "db", "--tail", "1", "--stream", "out", "on", "one,another", "--hosts-file", file)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	slices.Sort(lines)
	want := []string{"another db  | there", "one     db  | unfinished", "one     web | two"}
	if status != exitFailed || !slices.Equal(lines, want) || !strings.Contains(stderr, "kita: another: there is no child \"web\"") || !strings.Contains(stderr, "1 of 2 hosts failed: another (not found)") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
}

func TestLogsAsJSON(t *testing.T) {
	file := hostsFile(t, "hosts: {one: '"+serveFake(t, writingService()).tcp+"'}\ngroups: {all: [one]}\n")
	_, out, _ := kita("", "logs", "web", "db", "-o", "json", "on", "@all", "--hosts-file", file)
	golden(t, "logs-json", out)
	_, out, _ = kita("", "logs", "db", "--path", "-o", "json", "on", "one", "--hosts-file", file)
	golden(t, "logs-path-json", out)
}

func TestNamesAreColoured(t *testing.T) {
	server := serveFake(t, writingService())
	var out bytes.Buffer
	p := &program{name: "kita", out: &out, err: &out, now: time.Now, colour: true, defaultSocket: func() (string, bool) { return server.socket, true }}
	for _, args := range [][]string{{"logs", "web", "db"}, {"logs", "web"}, {"logs", "web", "db", "--stream", "err"}} {
		root := p.rootCommand(nil)
		root.SetArgs(args)
		if status := p.finish(root.Execute()); status != exitOK {
			t.Errorf("%q: status %d", args, status)
		}
	}
	golden(t, "logs-colour", out.String())
}

// piece is a chunk of a stream, as the server sends it.
func piece(source string, stream spec.StreamName, text string) spec.LogChunk {
	return spec.LogChunk{Child: "web", Source: source, Stream: stream, Text: text, Partial: !strings.HasSuffix(text, "\n")}
}

// sending is a service that sends these chunks.
func sending(chunks ...spec.LogChunk) *controltest.Service {
	svc := writingService()
	svc.LogsFunc = func(_ context.Context, _ spec.LogRequest, _ func(string) bool, send func(spec.LogChunk) error) error {
		for _, chunk := range append(chunks, spec.LogChunk{CaughtUp: true}) {
			if err := send(chunk); err != nil {
				return err
			}
		}
		return nil
	}
	return svc
}

func TestLinesThatComeInPieces(t *testing.T) {
	long := strings.Repeat("x", maxHeld)
	tests := []struct {
		name   string
		args   string
		chunks []spec.LogChunk
		want   string
	}{
		{"of one file are printed as they come", "logs web", []spec.LogChunk{
			{Child: "web", Source: "web/out", Next: "0"}, piece("web/out", spec.Out, "a"), piece("web/out", spec.Out, "b\nc"),
		}, "ab\nc"},
		{"of two files are not mixed", "logs web", []spec.LogChunk{
			piece("web/out", spec.Out, ""), piece("web/err", spec.Err, ""),
			piece("web/out", spec.Out, "a"), piece("web/err", spec.Err, "x\n"), piece("web/out", spec.Out, "b\nc"), piece("web/err", spec.Err, "y"),
			piece("web/out", spec.Out, "d\n"), piece("web/err", spec.Err, "z\n"),
		}, "x\nab\ncd\nyz\n"},
		{"are ended when a second file turns up", "logs web", []spec.LogChunk{
			piece("web/out", spec.Out, "a"), piece("web/err", spec.Err, "x\n"), piece("web/out", spec.Out, "b\n"),
		}, "a\nx\nb\n"},
		{"have their name once", "logs web db", []spec.LogChunk{
			piece("web/out", spec.Out, "a"), piece("web/err", spec.Err, "x\n"), piece("web/out", spec.Out, "b\nc"),
		}, "web | x\nweb | ab\nweb | c\n"},
		{"are not kept for ever", "logs web db", []spec.LogChunk{
			piece("web/out", spec.Out, long[:maxHeld/2]), piece("web/out", spec.Out, long[:maxHeld/2]), piece("web/out", spec.Out, "y"), piece("web/out", spec.Out, "z\n"),
		}, "web | " + long + "y\nweb | z\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := serveFake(t, sending(tt.chunks...))
			status, out, stderr := kita(server.socket, strings.Fields(tt.args)...)
			if status != exitOK || out != tt.want || stderr != "" {
				t.Errorf("status %d, stdout %.200q, want %.200q, stderr %q", status, out, tt.want, stderr)
			}
		})
	}
}

func TestWhatWasRemovedBeforeItWasReadIsSaid(t *testing.T) {
	lost := piece("web/out", spec.Out, "a\n")
	lost.Lost = 12_345_678
	server := serveFake(t, sending(lost))
	status, out, stderr := kita(server.socket, "logs", "web")
	if status != exitOK || out != "a\n" || stderr != "kita: web: 12 MB were removed before they were read\n" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
}

func TestFollowingTakesAFileForEachHost(t *testing.T) {
	if _, err := (request{hosts: make([]fleet.Host, 5)}).logLimits(true); err != nil {
		t.Error(err)
	}
	most := request{hosts: make([]fleet.Host, 1<<20)}
	if _, err := most.logLimits(true); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("more hosts than files: %v", err)
	}
	if limits, err := most.logLimits(false); err != nil || limits.Parallel != fleet.DefaultParallel {
		t.Errorf("without -f: %+v, %v", limits, err)
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 9_940: "9.9 kB", 9_960: "10 kB", 12_345_678: "12 MB", 999_499: "999 kB", 999_999: "1.0 MB",
		3e9: "3.0 GB", 1<<64 - 1: "18 EB",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
