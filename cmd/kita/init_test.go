package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "set")
	status, out, stderr := kita("", "init", dir)
	if status != exitOK || stderr != "" {
		t.Fatalf("status %d\n%s", status, stderr)
	}
	golden(t, "init", strings.NewReplacer(dir, "DIR", shellWord(callable()), "kita").Replace(out))
	for file, mode := range map[string]fs.FileMode{"server.yml": 0o644, "children/hello.yml": 0o644, "keys": fs.ModeDir | 0o700, "keys/README": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	s, err := spec.LoadServer(filepath.Join(dir, "server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Encrypt || !s.Listen.Addr().IsLoopback() || s.DiskBudget == 0 || len(s.PubKeysPath) != 1 {
		t.Errorf("%+v", s)
	}
	c, err := spec.LoadChild(filepath.Join(dir, "children"), filepath.Join(dir, "children/hello.yml"), s.Defaults)
	if err != nil || c.Stdout == nil || c.Stdout.Rotate == nil || c.Stdout.Path != filepath.Join(dir, "logs/hello.log") {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestInitIsCommented: whoever takes a # away gets what the comment says.
func TestInitIsCommented(t *testing.T) {
	set, err := starter("/etc/kita")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set {
		if filepath.Ext(f.name) != ".yml" {
			continue
		}
		var lines []string
		taken := 0
		for line := range strings.SplitSeq(string(f.text), "\n") {
			if bare, ok := strings.CutPrefix(line, "# "); ok && commentedKey(f.name, bare) {
				line = bare
				taken++
			}
			lines = append(lines, line)
		}
		text := []byte(strings.Join(lines, "\n"))
		if f.name == "server.yml" {
			_, err = spec.ParseServer("/etc/kita/server.yml", text)
		} else {
			_, err = spec.ParseChild("/etc/kita/children", "/etc/kita/children/hello.yml", text, nil)
		}
		if err != nil || taken < 3 {
			t.Errorf("%s, with %d comments taken away: %v", f.name, taken, err)
		}
	}
}

// commentedKey tells a comment that is a line of the file.
func commentedKey(file, line string) bool {
	keys := spec.ServerKeys()
	if file != "server.yml" {
		keys = spec.ChildKeys()
	}
	for _, k := range keys {
		if strings.HasPrefix(line, k.Name+":") {
			return true
		}
	}
	return strings.HasPrefix(line, "  - ")
}

func TestInitLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "children"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := kita("", "init", dir)
	entries, err := os.ReadDir(dir)
	if status != exitFailed || !strings.Contains(stderr, "cannot write") || err != nil || len(entries) != 1 {
		t.Errorf("status %d, %v left: %s", status, entries, stderr)
	}
}

// A file that appears meanwhile is not overwritten, and what was written goes.
func TestInitInARace(t *testing.T) {
	dir := t.TempDir()
	set, err := starter(dir)
	if err != nil {
		t.Fatal(err)
	}
	set = append(set, starterFile{"children/hello.yml", []byte("again")})
	if err := set.write(dir); err == nil || !strings.Contains(err.Error(), "exist") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v left, %v", entries, err)
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{"/a/b.yml": "/a/b.yml", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'"} {
		if got := shellWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}
