package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands are those of the scripts, besides testscript's own.
func commands() map[string]command {
	return map[string]command{
		"serve":       cmdServe,
		"serve-fails": cmdServeFails,
		"killserver":  cmdKillServer,
		"newserver":   cmdNewServer,
		"waitend":     cmdWaitEnd,
		"exits":       cmdExits,
		"wire":        cmdWire,
		"http":        cmdHTTP,
		"await":       cmdAwait,
		"show":        cmdShow,
		"alive":       cmdAlive,
		"dead":        cmdDead,
		"waitfile":    cmdWaitFile,
		"config":      cmdConfig,
		"lines":       cmdLines,
		"children":    cmdChildren,
		"order":       cmdOrder,
		"for":         cmdFor,
		"terminal":    cmdTerminal,
	}
}

// serve [-stdin FILE] [COMMAND...] starts the server, by default `kita serve
// server.yml`, and waits until it is ready. It sets KEEPER_PID and SERVER_PID.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "serve")
	var stdin *os.File
	if len(args) > 1 && args[0] == "-stdin" {
		f, err := os.Open(ts.MkAbs(args[1]))
		ts.Check(err)
		defer f.Close()
		stdin, args = f, args[2:]
	}
	in := script(ts)
	ts.Check(in.serve(serverCommand(ts, args), stdin))
	ts.Setenv("KEEPER_PID", strconv.Itoa(in.cmd.Process.Pid))
	ts.Setenv("SERVER_PID", strconv.Itoa(in.server()))
}

func serverCommand(ts *testscript.TestScript, args []string) []string {
	if len(args) == 0 {
		return nil
	}
	program := filepath.Join(world.bin, args[0])
	if _, err := os.Stat(program); err != nil {
		program, err = exec.LookPath(args[0])
		ts.Check(err)
	}
	return append([]string{program}, args[1:]...)
}

// serve-fails [COMMAND...] starts a server that ends with status 1 by itself.
// What it wrote is in stdout and stderr.
func cmdServeFails(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "serve-fails")
	in := script(ts)
	program := serverCommand(ts, args)
	if program == nil {
		program = []string{filepath.Join(world.bin, "kita"), "serve", "server.yml"}
	}
	second := &instance{dir: in.dir, mark: in.mark, env: in.env, errName: "failed.err"}
	ts.Check(os.RemoveAll(second.path(second.errName)))
	ts.Check(second.start(program, nil))
	status, err := second.waitEnd()
	if err != nil {
		_, killErr := second.signal(syscall.SIGKILL)
		ts.Check(errors.Join(err, killErr))
	}
	fmt.Fprint(ts.Stderr(), second.log())
	if status != 1 {
		ts.Fatalf("the server ended with status %d, want 1", status)
	}
}

// killserver SIGNAL sends a signal to the keeper, KILL to the server too, and
// waits for their end. With -keeper only the keeper gets it, and the server has
// to end with it; with -server only the server, and another has to come.
func cmdKillServer(ts *testscript.TestScript, neg bool, args []string) {
	const use = "killserver [-keeper|-server] TERM|KILL|INT|QUIT"
	noNeg(ts, neg, "killserver")
	usage(ts, len(args) == 1 || len(args) == 2, use)
	signals := map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT,
	}
	sig, ok := signals[args[len(args)-1]]
	usage(ts, ok, use)
	in := script(ts)
	switch {
	case len(args) == 1:
		status, err := in.signal(sig)
		ts.Check(err)
		ts.Logf("the keeper ended with status %d", status)
	case args[0] == "-keeper":
		ts.Check(in.killKeeper(sig))
	case args[0] == "-server":
		ts.Check(in.killServer(sig))
		ts.Setenv("SERVER_PID", strconv.Itoa(in.server()))
	default:
		usage(ts, false, use)
	}
}

// newserver waits until a server other than SERVER_PID is ready.
func cmdNewServer(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "newserver")
	usage(ts, len(args) == 0, "newserver")
	in := script(ts)
	ts.Check(in.awaitServer(pidOf(ts, ts.Getenv("SERVER_PID"))))
	ts.Setenv("SERVER_PID", strconv.Itoa(in.server()))
}

// waitend STATUS waits until the server, which was told to `kill`, has ended.
func cmdWaitEnd(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "waitend")
	usage(ts, len(args) == 1, "waitend STATUS")
	in := script(ts)
	status, err := in.waitEnd()
	ts.Check(err)
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("the server ended with status %d, want %s", status, args[0])
	}
	in.killed = true
	if left := marked(in.mark); len(left) > 0 {
		ts.Fatalf("left behind after kill: %v", left)
	}
}

// exits STATUS COMMAND... runs a command and wants exactly that exit status.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "exits")
	usage(ts, len(args) >= 2, "exits STATUS COMMAND...")
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("exit status %d, want %s", status, args[0])
	}
}

// wire [-split=N,N] [-bytes] [-eof] REQUEST WANT sends a request of the old
// protocol and compares the whole answer. WANT is text with \n, or @FILE, where
// variables are filled in. With -re it is a regular expression. With -file
// REQUEST is a file that holds the bytes.
func cmdWire(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "wire")
	halfClose, byByte, pattern, fromFile := false, false, false, false
	var positions []int
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-h" {
		name, value, _ := strings.Cut(args[0], "=")
		switch name {
		case "-eof":
			halfClose = true
		case "-bytes":
			byByte = true
		case "-re":
			pattern = true
		case "-file":
			fromFile = true
		case "-split":
			for field := range strings.SplitSeq(value, ",") {
				p, err := strconv.Atoi(field)
				ts.Check(err)
				positions = append(positions, p)
			}
		default:
			ts.Fatalf("wire has no flag %s", name)
		}
		args = args[1:]
	}
	usage(ts, len(args) == 2, "wire [-split=N,N] [-bytes] [-eof] [-re] [-file] REQUEST WANT")
	var request string
	if fromFile {
		request = ts.ReadFile(args[0])
	} else {
		request = unescape(ts, args[0])
	}
	segments := split(request, positions...)
	if byByte {
		segments = bytewise(request)
	}
	got, err := script(ts).exchange(segments, halfClose)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), got)
	want := wantedAnswer(ts, args[1])
	if pattern {
		if !regexp.MustCompile(`^(?s:` + want + `)$`).MatchString(got) {
			ts.Fatalf("answer to %q\n got %q\nwant %s", request, got, want)
		}
		return
	}
	if got != want {
		ts.Fatalf("answer to %q\n got %q\nwant %q", request, got, want)
	}
}

func wantedAnswer(ts *testscript.TestScript, word string) string {
	if file, ok := strings.CutPrefix(word, "@"); ok {
		return expand(ts.ReadFile(file), ts.Getenv)
	}
	return unescape(ts, word)
}

// http [-socket | -at ADDRESS] [-h NAME:VALUE] METHOD PATH [BODY] prints the status
// and the answer.
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "http")
	at, network, header := "", "tcp", map[string]string{}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "-socket":
			network = "unix"
		case args[0] == "-at" && len(args) > 1:
			at, args = args[1], args[1:]
		case args[0] == "-h" && len(args) > 1:
			name, value, _ := strings.Cut(args[1], ":")
			header[name] = value
			args = args[1:]
		default:
			ts.Fatalf("http has no flag %s", args[0])
		}
		args = args[1:]
	}
	usage(ts, len(args) == 2 || len(args) == 3, "http [-socket | -at ADDRESS] [-h NAME:VALUE] METHOD PATH [BODY]")
	ask := script(ts).http
	if at != "" {
		ask = func(network, method, path, body string, header map[string]string) (int, string, error) {
			return request(network, at, at, method, path, body, header)
		}
	}
	status, answer, err := ask(network, args[0], args[1], strings.Join(args[2:], ""), header)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s", status, answer)
}

// config FILE puts FILE in the place of server.yml in one step.
func cmdConfig(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "config")
	usage(ts, len(args) == 1, "config FILE")
	text := ts.ReadFile(args[0])
	temporary := ts.MkAbs("server.yml.new")
	ts.Check(os.WriteFile(temporary, []byte(text), 0o644))
	ts.Check(os.Rename(temporary, ts.MkAbs("server.yml")))
}

// lines FILE N wants the file to have N lines.
func cmdLines(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "lines")
	usage(ts, len(args) == 2, "lines FILE N")
	if n := strings.Count(ts.ReadFile(args[0]), "\n"); strconv.Itoa(n) != args[1] {
		ts.Fatalf("%s has %d lines, want %s:\n%s", args[0], n, args[1], ts.ReadFile(args[0]))
	}
}

// children NAME... wants exactly these to be alive.
func cmdChildren(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "children")
	info, err := script(ts).client().Info(context.Background())
	ts.Check(err)
	if got := strings.Join(info.Running, " "); got != strings.Join(args, " ") {
		ts.Fatalf("alive are [%s], want %v", got, args)
	}
}

// order NAME... wants the processes of the children to be of rising age.
func cmdOrder(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "order")
	var before time.Time
	for _, name := range args {
		v, err := script(ts).client().Get(context.Background(), name)
		ts.Check(err)
		if v.Status.Process == nil || !v.Status.Process.StartedAt.After(before) {
			ts.Fatalf("%s was not started after those before it: %+v", name, v.Status.Process)
		}
		before = v.Status.Process.StartedAt
	}
}

// for COMMAND ARG... -- WORD... runs a command of this file for each word, which
// takes the place of %s in the arguments.
func cmdFor(ts *testscript.TestScript, neg bool, args []string) {
	at := slices.Index(args, "--")
	usage(ts, at > 0 && at < len(args)-1, "for COMMAND ARG... -- WORD...")
	run, ok := commands()[args[0]]
	usage(ts, ok, "for takes a command of the tests")
	for _, word := range args[at+1:] {
		var filled []string
		for _, arg := range args[1:at] {
			filled = append(filled, strings.ReplaceAll(arg, "%s", word))
		}
		run(ts, neg, filled)
	}
}
