package e2e

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layer is a row of the layers in docs/design.md. It holds for the package and
// for all below it that have no row of their own.
type layer struct {
	// imports are the packages of this module that it may import, besides
	// those of its own row.
	imports []string
	// modules are what it may import from elsewhere. Tests are free there.
	modules []string
}

// layers may name only what lies on a lower floor; the order is that of the
// floors, the lowest first.
var layers = []struct {
	name string
	layer
}{
	{"failpoint", layer{}},
	{"systemd", layer{modules: []string{"golang.org/x/sys"}}},
	{"spec", layer{modules: []string{"go.yaml.in/yaml/v3", "golang.org/x/sys"}}},
	{"reconciler/smalldisk", layer{}},
	{"reconciler/plan", layer{imports: []string{"spec"}}},
	{"reconciler/store", layer{imports: []string{"failpoint", "spec", "reconciler/smalldisk"}, modules: []string{"golang.org/x/sys"}}},
	{"reconciler/history", layer{imports: []string{"spec", "reconciler/smalldisk"}}},
	{"runtime/exitlog", layer{modules: []string{"golang.org/x/sys"}}},
	{"runtime/cgroup", layer{imports: []string{"spec"}, modules: []string{"golang.org/x/sys"}}},
	{"runtime/logs", layer{imports: []string{"spec"}}},
	{"runtime/pump", layer{imports: []string{"spec"}, modules: []string{"golang.org/x/sys"}}},
	{"runtime/output", layer{imports: []string{"spec", "runtime/exitlog"}, modules: []string{"golang.org/x/sys", "github.com/klauspost/compress"}}},
	{"runtime", layer{imports: []string{"failpoint", "spec", "runtime/exitlog", "runtime/cgroup", "runtime/logs", "runtime/pump", "runtime/output"}, modules: []string{"golang.org/x/sys"}}},
	{"keeper", layer{imports: []string{"failpoint", "systemd", "runtime/exitlog", "runtime/cgroup"}, modules: []string{"golang.org/x/sys"}}},
	{"reconciler", layer{imports: []string{"failpoint", "spec", "reconciler/plan", "reconciler/store", "reconciler/smalldisk"}, modules: []string{"github.com/fsnotify/fsnotify", "golang.org/x/sys"}}},
	{"why", layer{imports: []string{"spec"}}},
	{"metrics", layer{imports: []string{"spec"}}},
	{"control", layer{imports: []string{"spec"}, modules: []string{
		"golang.org/x/sys", "golang.org/x/crypto", "github.com/skeema/knownhosts", "github.com/kevinburke/ssh_config",
		"go.yaml.in/yaml/v3",
	}}},
	{"console", layer{imports: []string{"spec", "control"}, modules: []string{"charm.land/bubbletea/v2", "github.com/charmbracelet/x/ansi"}}},
	{"cmd", layer{
		imports: []string{"console", "spec", "reconciler/store", "reconciler/history", "runtime/cgroup", "runtime/logs", "runtime/pump", "runtime", "systemd", "keeper", "reconciler", "why", "metrics", "control"},
		modules: []string{"github.com/spf13/cobra", "golang.org/x/sys", "golang.org/x/term", "golang.org/x/crypto", "sigs.k8s.io/yaml"},
	}},
	{"examples", layer{imports: []string{"spec"}}},
	{"docs", layer{imports: []string{"spec", "metrics"}}},
	{"packaging/tools", layer{modules: []string{"github.com/CycloneDX/cyclonedx-go"}}},
	{"packaging/goreleaser", layer{modules: []string{"github.com/goreleaser/goreleaser/v2"}}},
	{"packaging", layer{}},
	{"bench", layer{imports: []string{"failpoint", "spec", "control"}, modules: []string{"golang.org/x/sys", "golang.org/x/crypto"}}},
	{"e2e", layer{imports: []string{"failpoint", "spec", "control"}}},
}

func TestImportsPointDown(t *testing.T) {
	root, module := moduleRoot(t)
	got, err := importsUpwards(os.DirFS(root), module)
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range got {
		t.Error(violation)
	}
}

// TestLayersAreOrdered keeps the table itself from allowing a way up.
func TestLayersAreOrdered(t *testing.T) {
	var below []string
	for _, l := range layers {
		for _, i := range l.imports {
			if !slices.Contains(below, i) {
				t.Errorf("%s may import %s, which is not on a lower floor", l.name, i)
			}
		}
		below = append(below, l.name)
	}
}

// mapFile is a file of a fabricated module.
type mapFile struct{ name, source string }

func TestImportsUpwardsAreFound(t *testing.T) {
	tests := []struct {
		name string
		file mapFile
		want string
	}{
		{"down", mapFile{"control/a.go", "package control\nimport _ \"m/spec\""}, ""},
		{"own row", mapFile{"control/a.go", "package control\nimport _ \"m/control/legacy\""}, ""},
		{"parent of the row", mapFile{"control/legacy/a.go", "package legacy\nimport _ \"m/control\""}, ""},
		{"standard library", mapFile{"spec/a.go", "package spec\nimport _ \"net/netip\""}, ""},
		{"known module", mapFile{"spec/a.go", "package spec\nimport _ \"go.yaml.in/yaml/v3\""}, ""},
		{"module in a test", mapFile{"spec/a_test.go", "package spec\nimport _ \"github.com/x/y\""}, ""},
		{"not read", mapFile{"spec/testdata/a.go", "package broken\nimport _ \"m/cmd/kita\""}, ""},
		{"up", mapFile{"spec/a.go", "package spec\nimport _ \"m/control\""},
			"spec/a.go:2: spec must not import control"},
		{"up, a subpackage", mapFile{"spec/a.go", "package spec\nimport _ \"m/control/legacy\""},
			"spec/a.go:2: spec must not import control/legacy"},
		{"up, in a test", mapFile{"spec/a_test.go", "package spec\nimport _ \"m/control\""},
			"spec/a_test.go:2: spec must not import control"},
		{"up, on another system", mapFile{"spec/a_plan9.go", "package spec\nimport _ \"m/control\""},
			"spec/a_plan9.go:2: spec must not import control"},
		{"up, behind a build tag", mapFile{"spec/a.go", "//go:build never\n\npackage spec\nimport _ \"m/control\""},
			"spec/a.go:4: spec must not import control"},
		{"sideways", mapFile{"control/a.go", "package control\nimport _ \"m/reconciler\""},
			"control/a.go:2: control must not import reconciler"},
		{"a row within a row", mapFile{"reconciler/plan/a.go", "package plan\nimport _ \"m/reconciler\""},
			"reconciler/plan/a.go:2: reconciler/plan must not import reconciler"},
		{"plan and store", mapFile{"reconciler/plan/a.go", "package plan\nimport _ \"m/reconciler/store\""},
			"reconciler/plan/a.go:2: reconciler/plan must not import reconciler/store"},
		{"foreign module", mapFile{"spec/a.go", "package spec\nimport _ \"sigs.k8s.io/yaml\""},
			"spec/a.go:2: spec must not import sigs.k8s.io/yaml"},
		{"module with a similar name", mapFile{"spec/a.go", "package spec\nimport _ \"go.yaml.in/yaml/v31\""},
			"spec/a.go:2: spec must not import go.yaml.in/yaml/v31"},
		{"no row", mapFile{"utils/a.go", "package utils"},
			"utils/a.go: utils is in no layer"},
		{"the module's root", mapFile{"a.go", "package m"},
			"a.go: the module's root is in no layer"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, tc.file.name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(tc.file.source), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := importsUpwards(os.DirFS(root), "m")
			if err != nil {
				t.Fatal(err)
			}
			if joined := strings.Join(got, "\n"); joined != tc.want {
				t.Errorf("got %q, want %q", joined, tc.want)
			}
		})
	}
}

// importsUpwards names each import that the table does not allow. It reads the
// files of every system and build tag, so it sees what `go list` would not.
func importsUpwards(tree fs.FS, module string) ([]string, error) {
	violations := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); file != "." && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		case path.Ext(file) != ".go":
			return nil
		}
		found, err := fileImportsUpwards(tree, file, module)
		for _, v := range found {
			violations[v] = true
		}
		return err
	})
	return slices.Sorted(maps.Keys(violations)), err
}

func fileImportsUpwards(tree fs.FS, file, module string) ([]string, error) {
	source, err := fs.ReadFile(tree, file)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	dir := path.Dir(file)
	from, ok := rowOf(dir)
	if !ok {
		if dir == "." {
			dir = "the module's root"
		}
		return []string{fmt.Sprintf("%s: %s is in no layer", file, dir)}, nil
	}
	var found []string
	for _, i := range parsed.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		if !mayImport(from, imported, module, strings.HasSuffix(file, "_test.go")) {
			found = append(found, fmt.Sprintf("%s:%d: %s must not import %s",
				file, files.Position(i.Pos()).Line, layers[from].name, strings.TrimPrefix(imported, module+"/")))
		}
	}
	return found, nil
}

func mayImport(from int, imported, module string, inTest bool) bool {
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		to, known := rowOf(own)
		return known && (to == from || slices.Contains(layers[from].imports, layers[to].name))
	}
	first, _, _ := strings.Cut(imported, "/")
	if inTest || !strings.Contains(first, ".") {
		return imported != module
	}
	return slices.ContainsFunc(layers[from].modules, func(m string) bool { return within(imported, m) })
}

// rowOf finds the row of a directory, the longest name that fits.
func rowOf(dir string) (row int, ok bool) {
	for i, l := range layers {
		if within(dir, l.name) && (!ok || len(l.name) > len(layers[row].name)) {
			row, ok = i, true
		}
	}
	return row, ok
}

func within(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

// moduleRoot finds the directory of go.mod, and the name of the module.
func moduleRoot(t *testing.T) (dir, module string) {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(mod), "\n")
	module, ok := strings.CutPrefix(first, "module ")
	if !ok {
		t.Fatalf("go.mod begins with %q", first)
	}
	return dir, module
}
