package pump

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// envWrite has the size of each write and the number of all bytes: with it this
// binary is a program that writes lines of 100 bytes.
const envWrite = "TEST_WRITE"

// actWriter writes as it was told, and ends.
func actWriter(how string) {
	var size, total int
	if _, err := fmt.Sscanf(how, "%d %d", &size, &total); err != nil {
		panic(err)
	}
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	buf := bytes.Repeat(line, size/len(line)+1)[:size]
	for written := 0; written < total; written += size {
		if _, err := os.Stdout.Write(buf); err != nil {
			panic(err)
		}
	}
}

func writer(out *os.File, size, total int) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{envWrite + "=" + strconv.Itoa(size) + " " + strconv.Itoa(total)}
	cmd.Stdout = out
	return cmd
}

// BenchmarkThroughput moves so many bytes of lines for each b.N; compare with
// plain, and on a machine that is busy with other things by the processor time
// that the program and the pump took for a byte.
func BenchmarkThroughput(b *testing.B) {
	ways := []struct {
		name string
		how  *Stream
	}{
		{"plain", nil},
		{"text", &Stream{Format: spec.Text}},
		{"stamped", &Stream{Format: spec.Text, Timestamps: true, Prefix: true}},
		{"json", &Stream{Format: spec.JSON, Timestamps: true, Prefix: true}},
	}
	for size, total := range map[int]int{64 << 10: 256 << 20, 100: 32 << 20} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("%s/%d", way.name, size), func(b *testing.B) {
				dir := b.TempDir()
				c := New(Options{RunDir: dir, Logger: slog.New(slog.DiscardHandler)})
				defer c.Close()
				b.SetBytes(int64(total))
				var program, pump time.Duration
				for i := 0; b.Loop(); i++ {
					path := filepath.Join(dir, "out")
					dest, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|os.O_TRUNC, 0o644)
					if err != nil {
						b.Fatal(err)
					}
					if way.how == nil {
						cmd := writer(dest, size, total)
						if err := cmd.Run(); err != nil {
							b.Fatal(err)
						}
						program += cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime()
					} else {
						p, took := pumpOnce(b, c, Key{"web", uint64(i), spec.Out}, *way.how, dest, size, total)
						program += p
						pump += took
					}
					dest.Close()
					os.Remove(path)
				}
				bytes := float64(total) * float64(b.N)
				b.ReportMetric(float64(program)/bytes, "program-ns/B")
				b.ReportMetric(float64(pump)/bytes, "pump-ns/B")
			})
		}
	}
}

func pumpOnce(b *testing.B, c *Client, k Key, s Stream, dest *os.File, size, total int) (program, pump time.Duration) {
	fd, path, err := c.MakeFIFO(k, -1, -1)
	if err != nil {
		b.Fatal(err)
	}
	fifo := os.NewFile(uintptr(fd), path)
	s.FIFO, s.Dest = path, dest
	if err := c.Attach(k, s); err != nil {
		b.Fatal(err)
	}
	before := processorTime(b, c.PID())
	cmd := writer(fifo, size, total)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	c.Drain(b.Context(), k)
	fifo.Close()
	return cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime(), processorTime(b, c.PID()) - before
}

// processorTime is what a process has had, see proc_pid_stat(5).
func processorTime(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0
	for _, field := range fields[14-3 : 16-3] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
