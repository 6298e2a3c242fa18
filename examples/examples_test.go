// Package examples holds the files that a user copies, and checks that kita
// reads them.
package examples

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

func TestServerFileIsValid(t *testing.T) {
	s, err := spec.LoadServer("server.yml")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(here, "state"); s.StateDir != want {
		t.Errorf("state_dir is %s, want %s", s.StateDir, want)
	}
	if !s.Listen.Addr().IsLoopback() {
		t.Errorf("an example serves %s, which is not this host alone", s.Listen)
	}
	for _, name := range s.Startup {
		if _, ok := childFiles(t)[name]; !ok {
			t.Errorf("startup names %s, which has no file", name)
		}
	}
}

func TestEncryptedServerFileIsValid(t *testing.T) {
	s, err := spec.LoadServer("encrypted.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key   string
		right spec.Right
		child string
		want  bool
	}{
		{"ops", spec.Admin, spec.All, true},
		{"ci-main", spec.Operate, "worker-1", true},
		{"ci-main", spec.Operate, "db", false},
		{"guest", spec.Read, "db", true},
		{"guest", spec.Operate, "web", false},
	} {
		if got := s.Access.Allows(tt.key, tt.right, tt.child); got != tt.want {
			t.Errorf("%s may %s %s: %t", tt.key, tt.right, tt.child, got)
		}
	}
	if !s.Encrypt || s.AuditLog == "" {
		t.Errorf("encrypt %t, audit_log %q", s.Encrypt, s.AuditLog)
	}
}

func TestHostsFileIsValid(t *testing.T) {
	h, err := spec.LoadHosts("hosts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Hosts) != 4 || len(h.Groups) != 2 {
		t.Errorf("%d hosts and %d groups", len(h.Hosts), len(h.Groups))
	}
}

func TestChildFilesAreValid(t *testing.T) {
	s, err := spec.LoadServer("server.yml")
	if err != nil {
		t.Fatal(err)
	}
	files := childFiles(t)
	children := map[string]*spec.Child{}
	for name, file := range files {
		c, err := spec.LoadChild(filepath.Dir(file), file, s.Defaults)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.Name != name {
			t.Errorf("%s is the child %s", file, c.Name)
		}
		children[name] = c
	}
	lookup := func(name string) (*spec.Child, bool) {
		c, ok := children[name]
		return c, ok
	}
	for name := range children {
		if err := spec.CheckHooks(name, lookup); err != nil {
			t.Error(err)
		}
	}
	if len(children) < 6 {
		t.Errorf("found %d child files, want all of them", len(children))
	}
}

// TestExamplesAreCommented keeps them worth reading.
func TestExamplesAreCommented(t *testing.T) {
	for _, file := range append(slices.Collect(maps.Values(childFiles(t))), "server.yml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not begin with what it is for", file)
		}
	}
}

// otherFiles are those that are no child's.
var otherFiles = []string{"server.yml", "container/server.yml", "encrypted.yml", "hosts.yml"}

// otherDirs hold files of other programs.
var otherDirs = []string{"prometheus", "grafana", "ci"}

// childFiles has each child file below this directory by its child's name.
func childFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(otherFiles, path) {
			if err == nil && slices.Contains(otherDirs, path) {
				return fs.SkipDir
			}
			return err
		}
		if name, ok := spec.NameOf(d.Name()); ok {
			if other, twice := files[name]; twice {
				t.Errorf("%s and %s have one name", other, path)
			}
			files[name] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
