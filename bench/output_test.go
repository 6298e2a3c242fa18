//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// outputBytes is how much a child writes: 1 GB of lines of 100 bytes.
const outputBytes = 1_000_000_000

// BenchmarkOutput has a child write 1 GB of 100-byte lines, straight to its file,
// to one that is rotated, and through a pump, and beside each, in the same round,
// a process that a shell gave a file. The ratio is that of the throughputs, as the
// writer sees them: 1 is as fast as the plain file.
func BenchmarkOutput(b *testing.B) {
	program := buildScribe(b)
	for _, writes := range []struct {
		name         string
		batch, bytes int
	}{{"64KiB-writes", 655, outputBytes}, {"line-writes", 1, outputBytes / 5}} {
		for _, way := range []struct{ name, output string }{
			{"direct", ""},
			{"rotated", ", rotate: {size: 100MB}"},
			{"rotated-often", ", rotate: {size: 10MB, compress: none}"},
			{"pumped", ", format: text"},
			{"pumped-timestamps", ", format: text, timestamps: true"},
			{"pumped-json", ", format: json"},
			{"pumped-block", ", format: text, timestamps: true, on_full: block"},
		} {
			b.Run(writes.name+"/"+way.name, func(b *testing.B) {
				benchOutput(b, program, way.output, writes.batch, writes.bytes)
			})
		}
	}
}

func benchOutput(b *testing.B, program, output string, batch, bytes int) {
	dir := b.TempDir()
	log, report := filepath.Join(dir, "w.log"), filepath.Join(dir, "report")
	args := []string{"-lines", fmt.Sprint(bytes / 100), "-length", "100", "-batch", fmt.Sprint(batch), "-report", report}
	s := serveTest(b, map[string]string{"w.yml": fmt.Sprintf("command: [%s, %s]\noutput: [{stdout: %s%s}]\n",
		program, strings.Join(args, ", "), log, output)})
	var plain, kita, ratios, processor []float64
	var dropped uint64
	for b.Loop() {
		plain = append(plain, plainWriter(b, program, args, dir, report))
		before := s.processorTime(b)
		s.do(b, spec.VerbTrystart, "w")
		kita = append(kita, s.reported(b, report))
		s.await(b, "w", spec.PhaseExited)
		processor = append(processor, s.processorTime(b)-before)
		dropped += s.dropped(b, "w")
		ratios = append(ratios, plain[len(plain)-1]/kita[len(kita)-1])
		removeLogs(b, log)
	}
	b.ReportMetric(float64(bytes)/1e6/median(plain), "MB/s-plain")
	b.ReportMetric(float64(bytes)/1e6/median(kita), "MB/s")
	b.ReportMetric(median(ratios), "of-plain")
	b.ReportMetric(median(processor)*1000, "ms-server-cpu")
	b.ReportMetric(float64(dropped)/float64(b.N), "lines-dropped")
}

// dropped is how many lines a pump has left out so far.
func (s *testServer) dropped(b *testing.B, child string) uint64 {
	b.Helper()
	files, err := s.client.Output(b.Context(), child)
	if err != nil || len(files) != 1 {
		b.Fatalf("its files are %v, %v", files, err)
	}
	return files[0].Dropped
}

// plainWriter is the floor: a shell and its `> file`.
func plainWriter(b *testing.B, program string, args []string, dir, report string) float64 {
	b.Helper()
	file := filepath.Join(dir, "plain.log")
	cmd := exec.Command("sh", append([]string{"-c", `exec "$@" > "$0"`, file, program}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	took := readReport(b, report)
	removeLogs(b, file)
	return took
}

// reported waits for the writer's report.
func (s *testServer) reported(b *testing.B, report string) float64 {
	b.Helper()
	s.until(b, "the writer to end", func() bool {
		_, err := os.Stat(report)
		return err == nil
	})
	return readReport(b, report)
}

// readReport takes how many seconds the writer took.
func readReport(b *testing.B, report string) float64 {
	b.Helper()
	text, err := os.ReadFile(report)
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.Remove(report); err != nil {
		b.Fatal(err)
	}
	return time.Duration(n).Seconds()
}

// removeLogs removes a file and its archives, so that each round begins alike.
func removeLogs(b *testing.B, log string) {
	b.Helper()
	files, err := filepath.Glob(log + "*")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			b.Fatal(err)
		}
	}
}

// processorTime is what the server has used, without its keeper and pump, in
// seconds: fields 14 and 15 of /proc/PID/stat, in clock ticks of 10 ms.
func (s *testServer) processorTime(b *testing.B) float64 {
	b.Helper()
	info, err := s.client.Info(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", info.PID))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}

func buildScribe(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "scribe")
	cmd := exec.Command("go", "build", "-o", path, "../e2e/scribe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build scribe: %v\n%s", err, out)
	}
	return path
}
