package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/runtime/logs"
	"kita/spec"
)

// hostWithOutput is a Host that looks after output.
func hostWithOutput(t *testing.T) (*Host, facts, Options) {
	t.Helper()
	o := Options{StateDir: t.TempDir(), RunDir: shortDir(t), ID: newID(t)}
	h, f := hostWith(t, o)
	return h, f, o
}

// shortDir is a directory whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// shown is all that can be read of the only output file of web.
func shown(t *testing.T, h *Host, c *spec.Child) string {
	t.Helper()
	all := h.Logs("web", c)
	if len(all) != 1 {
		t.Fatalf("%d files", len(all))
	}
	oldest, _ := all[0].Source.Bounds()
	r, err := all[0].Source.Open(oldest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // not found with its process yet
		t.Fatal(err)
	}
	return string(text)
}

func awaitShown(t *testing.T, h *Host, c *spec.Child, want string) {
	t.Helper()
	awaitThat(t, fmt.Sprintf("%q is shown", want), func() (string, bool) {
		text := shown(t, h, c)
		return text, strings.Contains(text, want)
	})
}

func TestLastLinesOfARunThatFailed(t *testing.T) {
	numbers := func(from, to int) string {
		var all []string
		for i := from; i <= to; i++ {
			all = append(all, fmt.Sprint(i))
		}
		return strings.Join(all, "|")
	}
	tests := []struct {
		name, script string
		// apart: stdout and stderr have files of their own; format is that of both.
		apart  bool
		format spec.Format
		want   string
	}{
		{"stderr", "echo out; echo why >&2; exit 3", true, "", "err: why"},
		{"nothing on stderr", "echo out; exit 3", true, "", "out: out"},
		{"nothing at all", "exit 3", true, "", ""},
		{"one file", "echo out; echo why >&2; exit 3", false, "", ": out|why"},
		{"an unfinished line", "printf 'a\nb' >&2; exit 3", true, "", "err: a|b"},
		{"the last 20", "seq 1 100 >&2; exit 3", true, "", "err: " + numbers(81, 100)},
		{"a signal", "echo ouch >&2; kill -9 $$", true, "", "err: ouch"},
		{"a success", "echo fine >&2", true, "", ""},
		{"pumped", "seq 1 100; exit 3", false, spec.Text, "out: " + numbers(81, 100)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, f, _ := hostWithOutput(t)
			c := child(t, "sh", "-c", tt.script)
			c.Stdout = &spec.Stream{Path: outPath(c), Mode: spec.Append, Format: tt.format, OnFull: spec.Block}
			if !tt.apart && tt.format == "" {
				c.Stderr = c.Stdout
			}
			if tt.apart {
				c.Stderr = &spec.Stream{Path: c.Dir + "/err", Mode: spec.Append}
				mustWrite(t, c.Stderr.Path, 0)
			}
			// What another run wrote is none of this one's.
			mustWrite(t, outPath(c), 0)
			start(t, h, c)
			got := f.next(t)
			if tt.want != "" {
				if got.last != tt.want {
					t.Errorf("got %q, want %q", got.last, tt.want)
				}
				got = f.next(t)
			}
			if !got.isExit() {
				t.Errorf("before the exit: %+v", got)
			}
		})
	}
}

func TestFaultOfAFileIsToldAndGoes(t *testing.T) {
	h, f, _ := hostWithOutput(t)
	c := shell(t, "exec sleep 600")
	start(t, h, c)
	aside := c.Dir + "/aside"
	if err := os.Rename(outPath(c), aside); err != nil {
		t.Fatal(err)
	}
	if got := f.next(t); !strings.HasPrefix(got.fault, outPath(c)+" was moved to "+aside) {
		t.Errorf("told %+v", got)
	}
	if got := h.Outputs("web", c); len(got) != 1 || !strings.Contains(got[0].Fault, "was moved") {
		t.Errorf("shown: %+v", got)
	}
	if err := os.Rename(aside, outPath(c)); err != nil {
		t.Fatal(err)
	}
	if got := f.next(t); !got.faulty || got.fault != "" {
		t.Errorf("told %+v", got)
	}
}

func TestAdoptedRunIsRotatedOn(t *testing.T) {
	tests := []struct {
		name    string
		format  spec.Format
		removed bool
	}{{"direct", "", false}, {"direct, its file removed meanwhile", "", true}, {"pumped", spec.Text, false}, {"pumped, its file removed meanwhile", spec.Text, true}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _, o := hostWithOutput(t)
			c := child(t, "sh", "-c", "echo one; cat fifo; exec sleep 600")
			fifo := c.Dir + "/fifo"
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			c.Stdout = &spec.Stream{Path: outPath(c), Mode: spec.Append, Format: tt.format, OnFull: spec.Block,
				Rotate: &spec.Rotate{Size: 4096, Keep: 1000, Compress: spec.NoCompression}}
			l := launched(t, h, c, 1)
			awaitShown(t, h, c, "one\n")
			h.Close()
			if tt.removed {
				if err := os.Remove(outPath(c)); err != nil {
					t.Fatal(err)
				}
			}
			h, _ = hostWith(t, o)
			if err := h.Adopt("web", l); err != nil {
				t.Fatal(err)
			}
			h.Configure(c)
			w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			var want strings.Builder
			for i := range 3000 {
				fmt.Fprintf(&want, "line %d\n", i)
			}
			if _, err := io.WriteString(w, want.String()); err != nil {
				t.Fatal(err)
			}
			awaitShown(t, h, c, "line 2999\n")
			// A pump whose file was removed while no server was there has written
			// to it since.
			if got := shown(t, h, c); !strings.HasSuffix(got, want.String()) {
				t.Errorf("%d bytes are shown of %d", len(got), want.Len())
			}
			awaitThat(t, "archives", func() (string, bool) {
				all := h.Outputs("web", c)
				return fmt.Sprintf("%+v", all), len(all) == 1 && len(all[0].Archives) > 2
			})
			h.Signal("web", 1, spec.Signal(unix.SIGKILL))
		})
	}
}

func TestConfigureRotatesALiveRun(t *testing.T) {
	h, _, _ := hostWithOutput(t)
	c := shell(t, "seq 1 2000; exec sleep 600")
	start(t, h, c)
	awaitShown(t, h, c, "\n2000\n")
	if all := h.Outputs("web", c); all[0].Rotations > 0 {
		t.Fatalf("rotated: %+v", all)
	}
	changed := *c
	changed.Stdout = &spec.Stream{Path: outPath(c), Mode: spec.Append,
		Rotate: &spec.Rotate{Size: 4096, Keep: 1000, Compress: spec.NoCompression}}
	changed.Stderr = changed.Stdout
	h.Configure(&changed)
	awaitThat(t, "archives", func() (string, bool) {
		all := h.Outputs("web", c)
		return fmt.Sprintf("%+v", all), all[0].Rotations > 0
	})
	if got := shown(t, h, c); !strings.HasPrefix(got, "1\n2\n") || !strings.HasSuffix(got, "\n2000\n") {
		t.Errorf("%d bytes are shown", len(got))
	}
}

func TestRunsBeginWhereTheFormerEnded(t *testing.T) {
	for _, mode := range []spec.OpenMode{spec.Create, spec.Append} {
		t.Run(string(mode), func(t *testing.T) {
			h, f, _ := hostWithOutput(t)
			c := child(t, "echo", "hello")
			c.Stdout = &spec.Stream{Path: filepath.Join(c.Dir, "logs", "deep", "out"), Mode: mode}
			for i := range uint64(3) {
				l, err := h.Start(c, i+1)
				if err != nil {
					t.Fatal(err)
				}
				if got := l.Outputs[0].Start; got != 6*i {
					t.Errorf("run %d begins at %d", i+1, got)
				}
				f.next(t)
			}
		})
	}
}

func TestSourceTellsWhatWasLost(t *testing.T) {
	h, _, _ := hostWithOutput(t)
	c := shell(t, "seq 1 5000; exec sleep 600")
	c.Stdout.Rotate = &spec.Rotate{Size: 4096, Keep: 0, Compress: spec.NoCompression}
	start(t, h, c)
	source := h.Logs("web", c)[0].Source
	awaitThat(t, "archives removed", func() (string, bool) {
		oldest, end := source.Bounds()
		return fmt.Sprint(oldest, end), oldest > 0 && end > 20000
	})
	r, err := source.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = bufio.NewReader(r).ReadString('\n')
	if lost, ok := err.(*logs.LostError); !ok || lost.From != 0 || lost.To == 0 {
		t.Errorf("got %v", err)
	}
}
