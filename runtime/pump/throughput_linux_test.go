package pump

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

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

// BenchmarkThroughput moves 256 MB of lines for each b.N; compare with plain.
func BenchmarkThroughput(b *testing.B) {
	const total = 256 << 20
	ways := []struct {
		name string
		how  *Stream
	}{
		{"plain", nil},
		{"text", &Stream{Format: spec.Text}},
		{"stamped", &Stream{Format: spec.Text, Timestamps: true, Prefix: true}},
		{"json", &Stream{Format: spec.JSON, Timestamps: true, Prefix: true}},
	}
	for _, size := range []int{64 << 10, 100} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("%s/%d", way.name, size), func(b *testing.B) {
				dir := b.TempDir()
				c := New(Options{RunDir: dir})
				defer c.Close()
				b.SetBytes(total)
				for i := 0; b.Loop(); i++ {
					path := filepath.Join(dir, "out")
					dest, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|os.O_TRUNC, 0o644)
					if err != nil {
						b.Fatal(err)
					}
					if way.how == nil {
						if err := writer(dest, size, total).Run(); err != nil {
							b.Fatal(err)
						}
					} else {
						pumpOnce(b, c, Key{"web", uint64(i), spec.Out}, *way.how, dest, size, total)
					}
					dest.Close()
					os.Remove(path)
				}
			})
		}
	}
}

func pumpOnce(b *testing.B, c *Client, k Key, s Stream, dest *os.File, size, total int) {
	fd, path, err := c.MakeFIFO(k, -1, -1)
	if err != nil {
		b.Fatal(err)
	}
	fifo := os.NewFile(uintptr(fd), path)
	s.FIFO, s.Dest = path, dest
	if err := c.Attach(k, s); err != nil {
		b.Fatal(err)
	}
	cmd := writer(fifo, size, total)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	c.Drain(b.Context(), k)
	fifo.Close()
}
