package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kita/spec"
)

// aim is what a child is waited for to come to.
type aim string

const (
	aimRunning aim = "running"
	aimStable  aim = "stable"
	aimExited  aim = "exited"
	aimStopped aim = "stopped"
	// aimWell is that of a rolling change: it runs, or is done.
	aimWell aim = "well"
)

// condition is what is waited for. The zero value is nothing.
type condition struct {
	aim aim
	// length, of aimStable, is how long one process has to live.
	length time.Duration
	// code, of aimExited, is the exit code; nil means a success.
	code *int
}

func (c condition) given() bool { return c.aim != "" }

func (c condition) String() string {
	switch {
	case c.aim == aimStable:
		return "stable=" + c.length.String()
	case c.code != nil:
		return "exited=" + strconv.Itoa(*c.code)
	}
	return string(c.aim)
}

// conditionForms are how conditions are written, by the aims that a flag takes.
var conditionForms = map[aim]string{aimRunning: "running", aimStable: "stable=10s", aimExited: "exited or exited=CODE", aimStopped: "stopped"}

// parseCondition reads one of these aims.
func parseCondition(text string, aims []aim) (condition, error) {
	name, value, given := strings.Cut(text, "=")
	c := condition{aim: aim(name)}
	var forms []string
	known := false
	for _, a := range aims {
		forms = append(forms, conditionForms[a])
		known = known || a == c.aim
	}
	switch {
	case !known:
		return c, fmt.Errorf("give %s", strings.Join(forms, ", "))
	case c.aim == aimStable:
		length, err := time.ParseDuration(value)
		if err != nil || length <= 0 {
			return c, errors.New("how long has it to live? give a length of time with its unit, as in stable=10s or stable=2m")
		}
		c.length = length
	case c.aim == aimExited && given:
		code, err := strconv.Atoi(value)
		if err != nil || code < 0 || code > 255 {
			return c, errors.New("give the exit code, 0 to 255, as in exited=0, or exited for a success")
		}
		c.code = &code
	case given:
		return c, fmt.Errorf("give %s without a value", name)
	}
	return c, nil
}

// conditionValue is the value of a flag that is a condition.
type conditionValue struct {
	of   *condition
	aims []aim
}

func (v conditionValue) String() string {
	if v.of == nil || !v.of.given() {
		return ""
	}
	return v.of.String()
}

func (v conditionValue) Set(text string) error {
	c, err := parseCondition(text, v.aims)
	if err == nil {
		*v.of = c
	}
	return err
}

func (conditionValue) Type() string { return "condition" }

// completeConditions offers what the flag takes.
func completeConditions(aims []aim) cobra.CompletionFunc {
	about := map[aim][]string{
		aimRunning: {"running\tit has lived for a second"},
		aimStable:  {"stable=10s\tone process has lived that long"},
		aimExited:  {"exited\tit ended with success", "exited=0\tit ended with that exit code"},
		aimStopped: {"stopped\tnothing of it lives"},
	}
	var offers []string
	for _, a := range aims {
		offers = append(offers, about[a]...)
	}
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

// The aims of --wait and of `kita wait --for`.
var (
	commandAims = []aim{aimRunning, aimStable, aimExited}
	waitAims    = []aim{aimRunning, aimStable, aimExited, aimStopped}
)

// bound makes the time limit fit what is waited for: without --timeout there is
// time for the length of stable besides.
func (c condition) bound(timeout time.Duration, given bool) (time.Duration, error) {
	switch {
	case c.aim != aimStable:
		return timeout, nil
	case !given:
		return timeout + c.length, nil
	case c.length >= timeout:
		return 0, usagef("%v takes longer than --timeout %v allows: give a longer --timeout", c, timeout)
	}
	return timeout, nil
}

// reachedText says that a child has come to what was waited for.
func (c condition) reachedText(s spec.Status) string {
	switch {
	case c.passesOver(s):
	case c.aim == aimStable:
		return "stable for " + c.length.String()
	case c.aim == aimExited && s.LastExit != nil:
		return exitText(*s.LastExit)
	}
	return string(s.Phase)
}

// comeText says, after "before", that a child came to it.
func (c condition) comeText() string {
	if c.aim == aimWell {
		return "it was seen to run"
	}
	return c.String() + " was reached"
}

// reached is what a child has come to, as JSON has it.
func (c condition) reached(s spec.Status) string {
	if c.passesOver(s) {
		return string(s.Phase)
	}
	return c.String()
}

// passesOver: it was to live, and is done instead, as one of all may be.
func (c condition) passesOver(s spec.Status) bool {
	return (c.aim == aimRunning || c.aim == aimStable) && s.Phase == spec.PhaseExited
}
