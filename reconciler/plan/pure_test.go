package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// impure are the packages that would bring in a clock, randomness, a logger,
// locks or the world; impureTime the parts of time that read the clock.
var (
	impure = map[string]bool{"context": true, "crypto/rand": true, "io": true, "log": true, "log/slog": true,
		"math/rand": true, "math/rand/v2": true, "net": true, "os": true, "sync": true, "sync/atomic": true, "syscall": true}
	impureTime = map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true,
		"AfterFunc": true, "Tick": true, "NewTimer": true, "NewTicker": true}
)

// impurities lists what in a source file is not pure.
func impurities(t *testing.T, name string, src any) []string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	report := func(n ast.Node, what string) {
		found = append(found, fset.Position(n.Pos()).String()+": "+what)
	}
	timeName := ""
	for _, imp := range file.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if impure[path] || strings.HasPrefix(path, "os/") || strings.HasPrefix(path, "golang.org/x/sys") {
			report(imp, "import "+path)
		}
		if path == "time" {
			timeName = "time"
			if imp.Name != nil {
				timeName = imp.Name.Name
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "go statement")
		case *ast.ChanType:
			report(n, "channel")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && impureTime[n.Sel.Name] {
				report(n, "time."+n.Sel.Name)
			}
		}
		return true
	})
	if timeName == "." {
		found = append(found, name+": dot import of time")
	}
	return found
}

func TestPackageIsPure(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	sources := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		sources++
		for _, what := range impurities(t, file, nil) {
			t.Error(what)
		}
	}
	if sources == 0 {
		t.Fatal("found no sources to look at")
	}
}

func TestImpuritiesAreFound(t *testing.T) {
	tests := map[string]struct {
		src  string
		want int
	}{
		"pure":            {"package p\nimport \"time\"\nvar d = time.Second", 0},
		"now":             {"package p\nimport \"time\"\nvar t = time.Now()", 1},
		"renamed":         {"package p\nimport clock \"time\"\nvar t = clock.Now", 1},
		"dot":             {"package p\nimport . \"time\"\nvar t = Now()", 1},
		"since and until": {"package p\nimport \"time\"\nvar t = time.Since(x) + time.Until(x)", 2},
		"imports":         {"package p\nimport (\n\"context\"\n\"log\"\n\"math/rand\"\n\"os\"\n\"os/exec\"\n\"sync\"\n)", 6},
		"goroutine":       {"package p\nfunc f() { go f() }", 1},
	}
	for name, tt := range tests {
		if got := impurities(t, "x.go", tt.src); len(got) != tt.want {
			t.Errorf("%s: found %v, want %d", name, got, tt.want)
		}
	}
}
