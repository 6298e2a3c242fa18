//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kita/spec"
)

// outputBytes is how much a child writes: 1 GB of lines of 100 bytes, and a fifth
// of that where it writes them one by one.
const outputBytes = 1_000_000_000

var outputWrites = []struct {
	name         string
	batch, bytes int
}{{"64 KiB a write", 655, outputBytes}, {"a line a write", 1, outputBytes / 5}}

var outputWays = []struct{ name, output string }{
	{"direct", ""},
	{"rotated at 100 MB", ", rotate: {size: 100MB}"},
	{"rotated at 10 MB, not packed", ", rotate: {size: 10MB, compress: none}"},
	{"pumped", ", format: text"},
	{"pumped, time stamps", ", format: text, timestamps: true"},
	{"pumped, JSON", ", format: json"},
	{"pumped, time stamps, on_full: block", ", format: text, timestamps: true, on_full: block"},
}

// output has a child write to its file in each way, and beside each, in the same
// round, a process that a shell gave a file. The figures are throughputs, as the
// writer sees them: a ratio of 1 is as fast as the plain file.
func (w *world) output(ctx context.Context) error {
	for _, writes := range outputWrites {
		for _, way := range outputWays {
			name := "output " + way.name + ", " + writes.name
			if !w.wants(0, name) {
				continue
			}
			if err := w.write(ctx, name, way.output, writes.batch, writes.bytes); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func (w *world) write(ctx context.Context, name, output string, batch, bytes int) error {
	log, report := filepath.Join(w.dir, "w.log"), filepath.Join(w.dir, "report")
	args := []string{"-lines", strconv.Itoa(bytes / 100), "-length", "100", "-batch", strconv.Itoa(batch), "-report", report}
	s, err := w.serve(ctx, setup{files: map[string]string{"w.yml": fmt.Sprintf("command: [%s, %s]\noutput: [{stdout: %s%s}]\n",
		w.bin("scribe"), strings.Join(args, ", "), log, output)}})
	if err != nil {
		return err
	}
	defer s.end()
	defer removeLogs(log)
	var kita, floor []float64
	throughput := func(took time.Duration) float64 { return float64(bytes) / 1e6 / took.Seconds() }
	err = pairs(w.rounds, func() error {
		took, err := s.written(ctx, report)
		kita = append(kita, throughput(took))
		return errors.Join(err, removeLogs(log))
	}, func() error {
		took, err := plainWriter(ctx, w.bin("scribe"), args, log, report)
		floor = append(floor, throughput(took))
		return errors.Join(err, removeLogs(log))
	})
	if err != nil {
		return err
	}
	note := ""
	if files, err := s.client.Output(ctx, "w"); err == nil && len(files) == 1 && files[0].Dropped > 0 {
		note = fmt.Sprintf("%d lines dropped", files[0].Dropped)
	}
	w.add(figure{name: name, unit: "MB/s", kita: kita, floor: floor, note: note})
	return nil
}

// written has the child write all of it, and returns how long the child took.
func (s *server) written(ctx context.Context, report string) (time.Duration, error) {
	if _, err := s.client.Do(ctx, spec.Command{Verb: spec.VerbTrystart, Child: "w"}); err != nil {
		return 0, err
	}
	err := s.until(ctx, "the writer to end", 5*time.Millisecond, func() bool {
		v, err := s.client.Get(ctx, "w")
		return err == nil && v.Status.Phase == spec.PhaseExited
	})
	if err != nil {
		return 0, err
	}
	return readReport(report)
}

// plainWriter is the floor: a shell and its `> file`.
func plainWriter(ctx context.Context, program string, args []string, file, report string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `exec "$@" > "$0"`, file, program}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	return readReport(report)
}

// readReport takes how long the writer took.
func readReport(report string) (time.Duration, error) {
	text, err := os.ReadFile(report)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return time.Duration(n), errors.Join(err, os.Remove(report))
}

// removeLogs removes a file and its archives, so that each round begins alike.
func removeLogs(log string) error {
	files, err := filepath.Glob(log + "*")
	for _, file := range files {
		if gone := os.Remove(file); gone != nil && !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}
