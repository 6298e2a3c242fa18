package main

import (
	"time"

	"github.com/spf13/cobra"

	"kita/spec"
)

// logFlags are those that say what of the output is wanted.
type logFlags struct {
	follow bool
	tail   int
	since  string
	grep   string
	stream string
	path   bool
}

func (l *logFlags) register(c *cobra.Command) {
	set := c.Flags()
	set.BoolVarP(&l.follow, "follow", "f", false, "go on with what is written from now on")
	set.VarP(countValue{&l.tail}, "tail", "n", "begin with the last `N` lines of each file, without it with the first that is kept")
	set.StringVar(&l.since, "since", "", "leave out what is older: a `TIME` like 10m, 2d or 2026-01-31T02:11:11Z")
	set.StringVar(&l.grep, "grep", "", "only lines that match a regular `EXPRESSION` (RE2)")
	set.StringVar(&l.stream, "stream", "", "`out` or err alone")
	set.BoolVar(&l.path, "path", false, "show where the files are, in place of what they hold")
	set.Lookup("output").Usage = "json: one object a line"
	_ = c.RegisterFlagCompletionFunc("stream", cobra.FixedCompletions([]string{string(spec.Out), string(spec.Err)}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"tail", "since", "grep"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	set.Lookup("timeout").Usage = "how long each host may take to begin"
}

// request is what is asked of each server. given tells which flags are on the
// command line. All errors are wrong use.
func (l logFlags) request(children []string, given func(string) bool, now time.Time) (spec.LogRequest, error) {
	q := spec.LogRequest{Children: children, Follow: l.follow, Grep: l.grep, Stream: spec.StreamName(l.stream)}
	switch {
	case l.path && (l.follow || given("tail") || given("since") || given("grep")):
		return q, usagef("--path shows where the files are, it can be combined with --stream and -o json only")
	case l.path && (len(children) > 1 || children[0] == spec.All):
		return q, usagef("--path is for one child: kita logs CHILD --path")
	case l.follow && given(parallelFlag):
		return q, usagef("--parallel: all hosts are followed at once, leave it out")
	case given("stream") && q.Stream != spec.Out && q.Stream != spec.Err:
		return q, usagef("--stream %s: give out or err", l.stream)
	case given("tail") && l.tail < 0:
		return q, usagef("--tail %d: give how many of the last lines to begin with, 0 or more", l.tail)
	}
	if given("tail") {
		q.Tail = &l.tail
	}
	var err error
	if given("since") {
		q.Age, q.Since, err = readSince(l.since, now)
	}
	return q, err
}

// readSince takes a length of time, which the server counts back from its own
// clock, or a point in time.
func readSince(text string, now time.Time) (spec.Duration, time.Time, error) {
	age, err := spec.ParseDuration(text)
	if err == nil && age > 0 {
		return spec.Duration(age), time.Time{}, nil
	}
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, since, usagef("--since %s: give how long ago, as in 10m or 2d, or when, as in %s", text, now.UTC().Format(time.RFC3339))
	}
	return 0, since, nil
}
