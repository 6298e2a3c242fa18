//go:build linux

// Command bench measures kita against floors that it builds itself, and against
// other supervisors where their binaries are named. README.md beside it says what
// the figures mean. It judges nothing by absolute speed and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	n         int
	only      string
	rounds    int
	idle      time.Duration
	dir       string
	runDir    string
	bins      string
	buildOnly bool
	kita      string
	json      string
	results   string
	peers     string
	also      string
	smoke     bool
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 1000, "the most children: 10, 100, 1000 and so on up to this")
	flag.StringVar(&o.only, "only", "", "a regular expression: only figures whose name and N match, \"start 1000\"")
	flag.IntVar(&o.rounds, "rounds", 5, "how many pairs of rounds")
	flag.DurationVar(&o.idle, "idle", 30*time.Second, "how long idleness is watched")
	flag.StringVar(&o.dir, "dir", "", "where temporary files go: a directory on a real disk")
	flag.StringVar(&o.runDir, "run-dir", "", "where the run directories go; else beside the state")
	flag.StringVar(&o.bins, "bin", "", "a directory of programs that -build has made; else they are built first")
	flag.BoolVar(&o.buildOnly, "build", false, "only build the programs into the directory of -bin")
	flag.StringVar(&o.kita, "kita", "", "another binary of kita to measure")
	flag.StringVar(&o.json, "json", "", "a file for the results as JSON")
	flag.StringVar(&o.results, "results", "", "a file for the machine's description and the table")
	flag.StringVar(&o.peers, "peers", "", "a JSON file with the binaries of other supervisors")
	flag.StringVar(&o.also, "beside", "nothing else", "what else runs on the machine, for its description")
	flag.BoolVar(&o.smoke, "smoke", false, "a few figures only; fails if one is more than twice as bad as its goal")
	flag.Parse()
	if err := o.check(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// check tells what is wrong with the command line.
func (o options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("%q is no flag, there are only flags", args[0])
	case o.n < 1:
		return fmt.Errorf("-n is %d, at least one child is needed", o.n)
	case o.rounds < 1:
		return fmt.Errorf("-rounds is %d, at least one is needed", o.rounds)
	case o.idle <= 0:
		return fmt.Errorf("-idle is %v, it has to be longer than nothing", o.idle)
	case o.buildOnly && o.bins == "":
		return errors.New("-build needs -bin")
	}
	if _, err := regexp.Compile(o.only); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	return nil
}

func run(ctx context.Context, o options) (err error) {
	// Other supervisors are run in directories of their own.
	for _, path := range []*string{&o.bins, &o.dir, &o.runDir, &o.kita} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if o.buildOnly {
		return errors.Join(os.MkdirAll(o.bins, 0o755), build(ctx, o.bins))
	}
	if err := roomFor(o.n); err != nil {
		return err
	}
	others, err := readPeers(o.peers)
	if err != nil {
		return err
	}
	w, err := newWorld(o.dir)
	if err != nil {
		return err
	}
	defer w.end()
	w.only, w.rounds, w.kita, w.runDir, w.bins = regexp.MustCompile(o.only), o.rounds, o.kita, o.runDir, o.bins
	w.idle = o.idle
	if !o.smoke {
		w.progress = os.Stderr
	}
	if w.bins == "" {
		w.bins = w.dir
		if err := build(ctx, w.dir); err != nil {
			return err
		}
	}
	if o.smoke {
		return w.smoke(ctx, os.Stdout)
	}
	about := describe(w, o.also)
	var peers []peerResult
	if err = w.measure(ctx, o.n); err == nil && len(others) > 0 {
		others["kita"] = w.bin("kita")
		peers, err = w.peers(ctx, others, o.n)
	}
	about.HeldBy = w.heldBy
	return errors.Join(err, report(o, about, measured{w.results, peers}))
}

// measured is all that is reported.
type measured struct {
	figures []result
	peers   []peerResult
}

// measure measures everything with up to n children. What was measured before an
// error is kept.
func (w *world) measure(ctx context.Context, most int) error {
	if err := w.binarySize(); err != nil {
		return err
	}
	if err := w.coldStart(ctx); err != nil {
		return err
	}
	for _, n := range sizes(most) {
		for _, measure := range []func(context.Context, int) error{w.lifecycle, w.living, w.slowCommit} {
			if err := measure(ctx, n); err != nil {
				return fmt.Errorf("with %d children: %w", n, err)
			}
		}
	}
	// What output leaves for the disk to write would make every sync slow: it is
	// the last.
	for _, measure := range []func(context.Context) error{w.slowStop, w.fleets, w.output} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sizes are 10, 100 and so on up to most, and most itself.
func sizes(most int) []int {
	var all []int
	for n := 10; n < most; n *= 10 {
		all = append(all, n)
	}
	return append(all, most)
}

// report prints the table, and writes the files that were asked for.
func report(o options, about machine, all measured) error {
	err := all.print(os.Stdout)
	if o.json != "" {
		err = errors.Join(err, writeFile(o.json, func(out io.Writer) error { return printJSON(out, about, all) }))
	}
	if o.results != "" {
		err = errors.Join(err, writeFile(o.results, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "# Results\n\n%s\n\n%s\n", strings.TrimSpace(resultsPreface), about)
			return errors.Join(err, all.print(out))
		}))
	}
	return err
}

// print writes the tables.
func (m measured) print(out io.Writer) error {
	var err error
	if len(m.figures) > 0 {
		err = printTable(out, m.figures)
	}
	return errors.Join(err, printPeers(out, m.peers))
}

// resultsPreface is the beginning of RESULTS.md.
const resultsPreface = `
Written by ` + "`go run ./bench -results bench/RESULTS.md`" + `; [README.md](README.md) says how to read it. Values are medians, with the least and the greatest; a ratio is the median of the
ratios of pairs that were measured in turn.
`

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
