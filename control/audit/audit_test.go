package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 1, 31, 2, 11, 11, 123456789, time.UTC)

func newLog(t *testing.T, path string) *Log {
	t.Helper()
	l := New(func() string { return path }, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func event(detail string) Event {
	return Event{Time: at, Key: "ci", Peer: "10.0.0.7:51000", Via: "ssh", Verb: "stop", Child: "web", Result: "forbidden", Detail: detail}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// events are the lines of the file, each of which must be a whole event.
func events(t *testing.T, text string) []Event {
	t.Helper()
	var list []Event
	for line := range strings.Lines(text) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("%q is no line: %v", line, err)
		}
		list = append(list, e)
	}
	return list
}

func TestALineForAnEvent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := newLog(t, path)
	l.Write(event(`key "ci" may not stop web`))
	l.Write(Event{Time: at, Peer: "uid:0", Via: "unix", Verb: "check", Result: "ok"})
	want := `{"time":"2026-01-31T02:11:11.123456789Z","key":"ci","peer":"10.0.0.7:51000","via":"ssh","verb":"stop","child":"web","result":"forbidden","detail":"key \"ci\" may not stop web"}
{"time":"2026-01-31T02:11:11.123456789Z","key":"","peer":"uid:0","via":"unix","verb":"check","result":"ok"}
`
	if got := content(t, path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsThereStays(t *testing.T) {
	for _, before := range []string{"", "{}\n", "{\"torn", "\n"} {
		path := filepath.Join(t.TempDir(), "audit")
		// The umask may be any.
		if err := errors.Join(os.WriteFile(path, []byte(before), 0o640), os.Chmod(path, 0o640)); err != nil {
			t.Fatal(err)
		}
		l := newLog(t, path)
		l.Write(event("a"))
		l.Write(event("b"))
		whole := before
		if before != "" && !strings.HasSuffix(before, "\n") {
			whole += "\n"
		}
		got := content(t, path)
		if !strings.HasPrefix(got, whole) || len(events(t, strings.TrimPrefix(got, whole))) != 2 {
			t.Errorf("after %q: %q", before, got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}

// Whatever the strings hold, a line is one line, and not a long one.
func TestStringsCannotBreakALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := newLog(t, path)
	for _, text := range []string{
		"a\nb", "\r\n{\"time\":1}\n", "\x00\x1b[2J\x7f", "\xff\xfe", "\u2028\u2029\u0085", `"}` + "\n" + `{"`, "<&>",
		strings.Repeat("x", 1<<20), strings.Repeat("\x01", 1<<20), strings.Repeat("é", 1<<16), strings.Repeat("\xff", 1<<16),
	} {
		l.Write(Event{Time: at, Key: text, Peer: text, Via: text, Verb: text, Child: text, Result: text, Detail: text})
	}
	l.Write(Event{Time: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), Verb: "kill", Result: "ok"})
	list := events(t, content(t, path))
	if len(list) != 12 {
		t.Fatalf("%d lines", len(list))
	}
	if got := list[6].Detail; got != "<&>" {
		t.Errorf("got %q", got)
	}
	if got := list[7].Detail; len(got) != maxText || !strings.HasSuffix(got, "x…") {
		t.Errorf("%d bytes, %q", len(got), got[len(got)-9:])
	}
	for line := range strings.Lines(content(t, path)) {
		if len(line) > 8*6*maxText {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// The log is read in a terminal, which must do nothing that who asks had in mind.
func TestLinesArePrintable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := newLog(t, path)
	for _, text := range []string{"\u009b2J", "a\x7fb", "\x1b]0;x\a", "\u202egpj.exe", "\u2066x\u2069", "\u200b", "\U000e0041", "\U0001f600 é 猫 \u00a0", "\ufeff", "\t", "\n"} {
		l.Write(event(text))
		lines := strings.SplitAfter(content(t, path), "\n")
		line := lines[len(lines)-2]
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is not printable", line)
		}
		if got := events(t, line)[0].Detail; got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	if text := content(t, path); !strings.Contains(text, "\U0001f600 é 猫") {
		t.Errorf("what is printable is escaped: %s", text)
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit")
	l := newLog(t, path)
	l.Write(event("first"))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Write(event("renamed"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Write(event("removed"))
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	l.Write(event("replaced"))
	// As logrotate's copytruncate.
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	l.Write(event("cut off"))
	for file, want := range map[string]string{path + ".1": "first", path: "cut off"} {
		if list := events(t, content(t, file)); len(list) != 1 || list[0].Detail != want {
			t.Errorf("%s: %+v, want %s", file, list, want)
		}
	}
}

func TestThePathIsThatOfNow(t *testing.T) {
	dir := t.TempDir()
	var path atomic.Value
	path.Store("")
	l := New(func() string { return path.Load().(string) }, slog.New(slog.DiscardHandler))
	defer l.Close()
	l.Write(event("nowhere"))
	for _, name := range []string{"a", "b"} {
		path.Store(filepath.Join(dir, name))
		l.Write(event(name))
	}
	path.Store("")
	l.Write(event("nowhere"))
	if err := l.Err(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a", "b"} {
		if list := events(t, content(t, filepath.Join(dir, name))); len(list) != 1 || list[0].Detail != name {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// Lines are lost while there is no file, and the next one tells how many.
func TestWhatIsNoLog(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		put        func(path string) error
	}{
		{"link", "it is a symbolic link", func(path string) error { return os.Symlink(target, path) }},
		{"dangling", "it is a symbolic link", func(path string) error { return os.Symlink(target+"2", path) }},
		{"fifo", "it is not a regular file", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"directory", "it is a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			if err := tt.put(path); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			l := New(func() string { return path }, slog.New(slog.NewTextHandler(&said, nil)))
			defer l.Close()
			if err := l.Err(); err == nil || !strings.Contains(err.Error(), path+": "+tt.want) {
				t.Errorf("before an event: %v", err)
			}
			for range 3 {
				l.Write(event("lost"))
			}
			if err := l.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("after an event: %v", err)
			}
			if got := strings.Count(said.String(), "\n"); got != 1 || !strings.Contains(said.String(), tt.want) {
				t.Errorf("the log says %q", said.String())
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			l.Write(event("kept"))
			list := events(t, content(t, path))
			if len(list) != 2 || list[0].Verb != "audit" || list[0].Result != "lost" || !strings.HasPrefix(list[0].Detail, "3 lines") || list[1].Detail != "kept" {
				t.Errorf("got %+v", list)
			}
			if err := l.Err(); err != nil {
				t.Error(err)
			}
		})
	}
	if got := content(t, target); got != "" {
		t.Errorf("the target of the link has %q", got)
	}
	if _, err := os.Stat(target + "2"); err == nil {
		t.Error("the target of the dangling link exists")
	}
	l := newLog(t, filepath.Join(dir, "no", "audit"))
	if err := l.Err(); err == nil || !strings.HasSuffix(err.Error(), "its directory does not exist, make it") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		if err := newLog(t, "/dev/full").Err(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("a device: %v", err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := newLog(t, path)
	l.Write(event("first"))
	// The disk has room for so many bytes of the next lines.
	room := []int{0, 20, 7, 0}
	l.put = func(f *file, p []byte) (int, error) {
		n, err := f.put(p[:room[0]])
		if room = room[1:]; err == nil {
			err = syscall.ENOSPC
		}
		return n, err
	}
	for range 4 {
		l.Write(event("lost"))
	}
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
	l.put = func(f *file, p []byte) (int, error) { return f.put(p[:10]) }
	l.Write(event("short without an error"))
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "only 10 of") {
		t.Errorf("got %v", err)
	}
	l.put = (*file).put
	l.Write(event("last"))
	if err := l.Err(); err != nil {
		t.Error(err)
	}
	lines := strings.SplitAfter(content(t, path), "\n")
	// Nothing is glued to what was written in part.
	torn := lines[1 : len(lines)-3]
	for _, line := range torn {
		if len(line) > 21 {
			t.Errorf("a torn line of %d bytes: %q", len(line), line)
		}
	}
	whole := events(t, lines[0]+strings.Join(lines[len(lines)-3:], ""))
	if len(torn) != 3 || len(whole) != 3 || whole[0].Detail != "first" || !strings.HasPrefix(whole[1].Detail, "5 lines") || whole[2].Detail != "last" {
		t.Errorf("got %q", lines)
	}
}

func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	// Two logs of one file, as during an upgrade.
	logs := []*Log{newLog(t, path), newLog(t, path)}
	const writers, each = 20, 50
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				logs[w%2].Write(event(fmt.Sprintf("%d-%d %s", w, i, strings.Repeat("x", 17*i))))
				_ = logs[w%2].Err()
			}
		})
	}
	// It is rotated meanwhile.
	for i := range 5 {
		// The first line may not have been written yet.
		_ = os.Rename(path, fmt.Sprintf("%s.%d", path, i))
	}
	writing.Wait()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		for _, e := range events(t, content(t, file)) {
			seen[e.Detail] = true
		}
	}
	if len(seen) != writers*each {
		t.Errorf("%d of %d lines", len(seen), writers*each)
	}
}

func TestClosedLogDropsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := newLog(t, path)
	l.Write(event("a"))
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l.Write(event("b"))
	if list := events(t, content(t, path)); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	if l.Err() == nil {
		t.Error("no error")
	}
}
