package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kita/spec"
)

// await NAME CONDITION... waits until all hold for the child at once. A
// condition is KEY=VALUE, KEY>=NUMBER or KEY~REGEXP.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "await")
	usage(ts, len(args) >= 2, "await NAME KEY=VALUE|KEY>=NUMBER|KEY~REGEXP...")
	v, err := script(ts).await(args[0], func(v spec.View) bool {
		facts := factsOf(v)
		for _, condition := range args[1:] {
			ok, err := holds(facts, condition)
			ts.Check(err)
			if !ok {
				return false
			}
		}
		return true
	})
	if err != nil {
		ts.Fatalf("%v, want %v", err, args[1:])
	}
	remember(ts, v)
}

// show NAME sets NAME_PID, NAME_START and NAME_INCARNATION.
func cmdShow(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "show")
	usage(ts, len(args) == 1, "show NAME")
	v, err := script(ts).await(args[0], func(spec.View) bool { return true })
	ts.Check(err)
	remember(ts, v)
}

func remember(ts *testscript.TestScript, v spec.View) {
	if p := v.Status.Process; p != nil {
		ts.Setenv(v.Name+"_PID", strconv.Itoa(p.PID))
		ts.Setenv(v.Name+"_START", p.StartedAt.UTC().Format(time.DateTime))
		ts.Setenv(v.Name+"_INCARNATION", strconv.FormatUint(p.Incarnation, 10))
	}
	ts.Setenv(v.Name+"_STARTS", strconv.FormatUint(v.Status.Starts, 10))
}

// factsOf is what await can ask about.
func factsOf(v spec.View) map[string]string {
	facts := map[string]string{
		"phase": string(v.Status.Phase), "desired": string(v.Desired.Run), "alive": strconv.FormatBool(v.Status.Alive()),
		"starts": strconv.FormatUint(v.Status.Starts, 10), "restarts": strconv.FormatUint(v.Status.Restarts, 10),
		"reason": v.Status.Reason, "file_error": v.FileError, "stale": strconv.FormatBool(v.Stale),
		"known": strconv.FormatBool(v.Status.Phase != ""), "repeat": strconv.FormatBool(v.Status.RepeatAt != nil),
		"by": v.Desired.By, "exit": "", "pid": "0", "incarnation": "0", "adopted": "false", "command": "",
		"warnings": strings.Join(v.Status.Warnings, "; "),
	}
	if e := v.Status.LastExit; e != nil {
		facts["exit"] = e.String()
	}
	if v.Spec != nil {
		facts["command"] = v.Spec.CommandLine
	}
	if p := v.Status.Process; p != nil {
		facts["pid"] = strconv.Itoa(p.PID)
		facts["incarnation"] = strconv.FormatUint(p.Incarnation, 10)
		facts["adopted"] = strconv.FormatBool(p.Adopted)
	}
	return facts
}

var conditionSyntax = regexp.MustCompile(`^([a-z_]+)(=|!=|>=|~)(.*)$`)

func holds(facts map[string]string, condition string) (bool, error) {
	parts := conditionSyntax.FindStringSubmatch(condition)
	if parts == nil {
		return false, fmt.Errorf("%q is no condition", condition)
	}
	got, ok := facts[parts[1]]
	if !ok {
		return false, fmt.Errorf("nothing is known of %q", parts[1])
	}
	switch parts[2] {
	case "=":
		return got == parts[3], nil
	case "!=":
		return got != parts[3], nil
	case "~":
		return regexp.MatchString(parts[3], got)
	}
	have, err := strconv.ParseUint(got, 10, 64)
	least, leastErr := strconv.ParseUint(parts[3], 10, 64)
	return have >= least, errors.Join(err, leastErr)
}

// alive PID... wants each to be a live process of this server.
func cmdAlive(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "alive")
	usage(ts, len(args) > 0, "alive PID...")
	for _, arg := range args {
		if !script(ts).isAlive(pidOf(ts, arg)) {
			ts.Fatalf("process %s is dead", arg)
		}
	}
}

// dead PID... waits until each is dead.
func cmdDead(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "dead")
	usage(ts, len(args) > 0, "dead PID...")
	for _, arg := range args {
		ts.Check(script(ts).awaitDeath(pidOf(ts, arg)))
	}
}

// pidOf reads a PID, or @FILE that holds one.
func pidOf(ts *testscript.TestScript, arg string) int {
	if file, ok := strings.CutPrefix(arg, "@"); ok {
		arg = strings.TrimSpace(ts.ReadFile(file))
	}
	pid, err := strconv.Atoi(arg)
	if err != nil || pid <= 1 {
		ts.Fatalf("%q is no PID", arg)
	}
	return pid
}

// waitfile FILE [REGEXP] waits until the file is there and matches.
func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "waitfile")
	usage(ts, len(args) == 1 || len(args) == 2, "waitfile FILE [REGEXP]")
	want := regexp.MustCompile(`(?m)` + strings.Join(args[1:], ""))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && want.Match(text) {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			ts.Fatalf("%s is not there with %q after %v: %v, %q", args[0], want, patience, err, text)
		}
	}
}
