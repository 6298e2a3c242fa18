package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// leftOut are the packages of goreleaser's steps that this program has not: for sections
// that it refuses, or that have to be disabled. defaults is its own.
var leftOut = strings.Fields(`announce artifactory aur aursources blob bluesky brew cask changelog chocolatey
	defaults discord discourse docker dockerdigest dockerv2 flatpak ko krew linkedin makeself mastodon mattermost
	mcp milestone nix notary opencollective publish reddit release scoop sign slack smtp snapcraft sourcearchive
	srpm teams telegram twitter universalbinary upload upx webhook winget`)

// TestStepsAreThoseOfGoreleaser compares the lists with those in goreleaser's sources: what
// a newer one adds or puts elsewhere is seen here.
func TestStepsAreThoseOfGoreleaser(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/goreleaser/goreleaser/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := strings.TrimSpace(string(out))
	for _, tt := range []struct {
		file  string
		lists []string
		ours  string
	}{
		{"internal/pipeline/pipeline.go", []string{"BuildPipeline", "Pipeline"}, "steps"},
		{"pkg/defaults/defaults.go", []string{"Defaulters"}, "defaulters"},
	} {
		var theirs []string
		for _, name := range tt.lists {
			theirs = append(theirs, listed(t, filepath.Join(module, tt.file), name)...)
		}
		theirs = slices.DeleteFunc(theirs, func(step string) bool {
			name, _, _ := strings.Cut(step, ".")
			return slices.Contains(leftOut, name)
		})
		ours := slices.DeleteFunc(listed(t, "steps.go", tt.ours), func(step string) bool { return step == "defaults" })
		if len(ours) == 0 || !slices.Equal(ours, theirs) {
			t.Errorf("%s has, but for what is left out,\n%s\nand steps.go\n%s", tt.file, strings.Join(theirs, "\n"), strings.Join(ours, "\n"))
		}
	}
}

// listed are the types of the values in a list, as in git.Pipe.
func listed(t *testing.T, path, list string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var elements []ast.Expr
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || v.Names[0].Name != list {
			return true
		}
		switch value := v.Values[0].(type) {
		case *ast.CompositeLit:
			elements = value.Elts
		case *ast.CallExpr: // append
			elements = value.Args[1:]
		}
		return false
	})
	var found []string
	for _, e := range elements {
		switch e := e.(type) {
		case *ast.CompositeLit:
			found = append(found, named(e.Type))
		case *ast.CallExpr:
			found = append(found, named(e.Fun))
		default:
			t.Fatalf("%s: %s has a %T", path, list, e)
		}
	}
	return found
}

func named(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return named(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}
