package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

// trialOfLines says how much the tests of the output do.
type trialOfLines struct {
	lines, kills int
	full         time.Duration // how long a disk is full
}

// scale is a short form, or with KITA_CHAOS=full that of `make chaos`, whose
// counts N multiplies.
func scale(t *testing.T) trialOfLines {
	t.Helper()
	if os.Getenv("KITA_CHAOS") != "full" {
		return trialOfLines{lines: 1_500_000, kills: 10, full: 3 * time.Second}
	}
	times := 1
	if text := os.Getenv("N"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("N=%s is no count", text)
		}
		times = n
	}
	return trialOfLines{lines: 10_000_000 * times, kills: 50 * times, full: time.Minute}
}

var scribe = sync.OnceValues(func() (string, error) {
	path := filepath.Join(world.bin, "scribe")
	cmd := exec.Command("go", "build", "-o", path, "./e2e/scribe")
	cmd.Dir = world.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build scribe: %w\n%s", err, out)
	}
	return path, nil
})

// TestNoLineIsLost has a child write at full speed through 50 rotations while
// the server is killed again and again, and a `kita logs -f` reads along: neither
// that nor a `kita logs` afterwards may miss a line or have one twice.
func TestNoLineIsLost(t *testing.T) {
	program, err := scribe()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, fileSystem string
		output           string
	}{
		{"disk", "", "compress: zstd"},
		{"tmpfs", "/dev/shm", "compress: none"},
		{"pumped", "", "compress: gzip}, format: text, on_full: block, timestamps: false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			logs := logDir(t, tt.fileSystem)
			n := scale(t)
			// 80 archives of 50-byte lines; on a busy machine some become larger.
			rotate := fmt.Sprintf("rotate: {size: %d, keep: 10000, %s", n.lines*50/80, tt.output)
			if !strings.Contains(rotate, "}") {
				rotate += "}"
			}
			done := filepath.Join(logs, "done")
			in := newServer(t, "", map[string]string{"w": fmt.Sprintf(
				"command: [%s, -lines, %d, -until, %s]\noutput: [{stdout: %s, mode: append, %s}]\n",
				program, n.lines, done, filepath.Join(logs, "w.log"), rotate)})
			follower := in.follow(t, "w")
			in.run(t, 0, "kita", "start", "w")
			for i := range n.kills {
				// At any moment of a rotation, and of a recovery.
				<-time.After(time.Duration(rand.IntN(150)) * time.Millisecond)
				if err := in.killServer(syscall.SIGKILL); err != nil {
					t.Fatalf("kill %d: %v", i+1, err)
				}
			}
			if err := os.WriteFile(done, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			follower.wait(t)
			v, err := in.await("w", func(v spec.View) bool { return v.Status.Phase == spec.PhaseExited })
			if err != nil {
				t.Fatal(err)
			}
			if v.Status.Starts != 1 || v.Status.LastExit.Code != 0 {
				t.Errorf("the child was hurt: %s, %v", describe(v), v.Status.LastExit)
			}
			count := in.readBack(t, "w")
			out := in.output(t, "w")
			if count != follower.count {
				t.Errorf("%d lines are there, %d were followed", count, follower.count)
			}
			if out.Rotations < 50 || out.Fault != "" {
				t.Errorf("%d rotations, fault %q", out.Rotations, out.Fault)
			}
			t.Logf("%d lines, %d rotations, the server killed %d times", count, out.Rotations, n.kills)
		})
	}
}

// TestLogsThroughUpgrades follows children, of which one is pumped, while one server
// hands over to the next, and to others that come to be meanwhile.
func TestLogsThroughUpgrades(t *testing.T) {
	t.Parallel()
	program, err := scribe()
	if err != nil {
		t.Fatal(err)
	}
	child := func(more string) string {
		return fmt.Sprintf("command: [%s, -lines, 1, -until, ../done, -pace, 1ms]\nrotate: {size: 32KiB, keep: 10000}\n%s", program, more)
	}
	in := newServer(t, "mode: full\noutput_dir: logs\n", map[string]string{
		"direct": child(""), "pumped": child("output: {format: text, on_full: block}\n"),
	})
	followers := map[string]*follower{"direct": in.follow(t, "direct"), "pumped": in.follow(t, "pumped")}
	all := in.command("kita", "logs", "all", "-f", "--grep", "^(end|0{12}) ", "-o", "json")
	out, err := all.StdoutPipe()
	if err == nil {
		err = all.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		in.run(t, 0, "kita", "upgrade")
		name := fmt.Sprintf("later%d", i)
		in.writeChild(t, name, child(""))
		in.run(t, 0, "kita", "start", name)
	}
	if err := os.WriteFile(in.path("done"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, f := range followers {
		f.wait(t)
		if count := in.readBack(t, name); count != f.count || count == 0 {
			t.Errorf("%s: %d lines are there, %d were followed", name, count, f.count)
		}
	}
	// Each of the seven begins and ends once.
	seen := map[string]int{}
	lines := bufio.NewScanner(out)
	for range 14 {
		if !lines.Scan() {
			t.Fatalf("logs all -f ends after %v: %v", seen, lines.Err())
		}
		var line struct{ Child, Text string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", lines.Bytes(), err)
		}
		if line.Child == "" {
			t.Fatalf("no line of a child: %s", lines.Bytes())
		}
		word, _, _ := strings.Cut(line.Text, " ")
		seen[line.Child+" "+word]++
	}
	if len(seen) != 14 {
		t.Errorf("of all children it showed %v", seen)
	}
	if err := errors.Join(all.Process.Signal(os.Interrupt), all.Wait()); err != nil {
		t.Error(err)
	}
}

// logDir is a new directory in a file system; "" means that of the test.
func logDir(t *testing.T, fileSystem string) string {
	t.Helper()
	if fileSystem == "" {
		fileSystem = world.root
	}
	dir, err := os.MkdirTemp(fileSystem, "kita-logs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// follower is a `kita logs -f` whose lines are counted and looked at.
type follower struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	count  int
	ended  chan error
}

func (in *instance) follow(t *testing.T, child string) *follower {
	t.Helper()
	f := &follower{ended: make(chan error, 1)}
	f.cmd = in.command("kita", "logs", child, "-f")
	f.cmd.Stderr = &f.stderr
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		var err error
		f.count, err = checkLines(out, true)
		f.ended <- err
	}()
	return f
}

// wait waits for the last line, and ends the command as Ctrl-C does.
func (f *follower) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-f.ended:
		if err != nil {
			t.Errorf("followed: %v", err)
		}
	case <-time.After(patience):
		t.Errorf("the last line was not followed after %v", patience)
	}
	if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := f.cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, f.stderr.Bytes())
	}
}

// readBack looks at every line that `kita logs` has of a scribe that has ended,
// and returns how many there are.
func (in *instance) readBack(t *testing.T, child string) int {
	t.Helper()
	cmd := in.command("kita", "logs", child)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	count, err := checkLines(out, false)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Errorf("kita logs %s: %v\n%s", child, err, stderr.Bytes())
	}
	return count
}

// checkLines reads the lines of a scribe, from its first one on: each has the
// number after that of the one before. It returns at the line "end", or, unless
// there may be more, at the end of the text.
func checkLines(r io.Reader, more bool) (count int, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if total, ok := strings.CutPrefix(line, "end "); ok {
			if n, err := strconv.Atoi(total); err != nil || n != count {
				return count, fmt.Errorf("%d lines before %q", count, line)
			}
			if more {
				return count, nil
			}
			continue
		}
		if len(line) != 49 || strings.Trim(line[13:], ".") != "" {
			return count, fmt.Errorf("line %d is %q", count, line)
		}
		if n, err := strconv.Atoi(line[:12]); err != nil || n != count {
			return count, fmt.Errorf("line %d is number %q", count, line[:12])
		}
		count++
	}
	if err := lines.Err(); err != nil {
		return count, err
	}
	if more {
		return count, fmt.Errorf("the end after %d lines", count)
	}
	return count, nil
}

// output is the only output file of a child.
func (in *instance) output(t *testing.T, child string) spec.OutputFile {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	files, err := in.client().Output(ctx, child)
	if err != nil || len(files) != 1 {
		text, _ := json.Marshal(files)
		t.Fatalf("the output of %s: %s, %v", child, text, err)
	}
	return files[0]
}
