// Package docs holds what is written for people, and checks that it is
// complete.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

// none makes every metric exist that has something to read.
type none struct{}

func (none) List() []spec.View {
	return []spec.View{{Name: "web", Status: spec.Status{Phase: spec.PhaseRunning, Process: &spec.Process{PID: 1}}}}
}
func (none) Usage(int) (spec.Usage, error) { return spec.Usage{}, nil }
func (none) Output(spec.View) []spec.OutputFile {
	return []spec.OutputFile{{Streams: []spec.StreamName{spec.Out}}}
}
func (none) Used() uint64   { return 0 }
func (none) Budget() uint64 { return 0 }

func TestEveryMetricIsDocumented(t *testing.T) {
	var registered []string
	for _, name := range everyMetric().Names() {
		if strings.HasPrefix(name, "kita_") {
			registered = append(registered, name)
		}
	}
	same(t, "metrics", firstColumn(read(t, "metrics.md")), registered)
}

// TestExamplesAreThoseOfTheText compares what a user copies from the text with
// what he copies from the directory.
func TestExamplesAreThoseOfTheText(t *testing.T) {
	text := read(t, "crash-and-upgrade.md")
	for file, language := range map[string]string{"kita.service": "ini", "Dockerfile": "dockerfile"} {
		_, example, _ := strings.Cut(read(t, "../examples/"+file), "\n") // without its first line, a comment
		if !strings.Contains(text, "```"+language+"\n"+example+"```\n") {
			t.Errorf("the text has another %s than examples/%s", language, file)
		}
	}
}

// TestLinksLead follows the links between the documents of this repository.
func TestLinksLead(t *testing.T) {
	files := []string{"../README.md"}
	for _, pattern := range []string{"*.md", "decisions/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	links := 0
	for _, file := range files {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, file), -1) {
			to, _, _ := strings.Cut(link[1], "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), to)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if links == 0 {
		t.Error("found no link to follow")
	}
}

// TestEveryPageIsInTheTableOfContents: README.md has a link to each of them.
func TestEveryPageIsInTheTableOfContents(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	contents := read(t, "README.md")
	for _, page := range pages {
		if page != "README.md" && !strings.Contains(contents, "]("+page+")") {
			t.Errorf("README.md lacks %s", page)
		}
	}
}

// TestPromisesAreTested looks for each test by which security.md shows a
// promise.
func TestPromisesAreTested(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(file, ".txtar"):
			tests[d.Name()] = true
		case strings.HasSuffix(file, "_test.go"):
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`).FindAllStringSubmatch(read(t, file), -1) {
				tests[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, promises, _ := strings.Cut(read(t, "security.md"), "## Promises")
	promises, _, _ = strings.Cut(promises, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| (.+) \|$`).FindAllStringSubmatch(promises, -1)
	shown := 0
	for _, row := range rows {
		if row[1] == "promise" {
			continue
		}
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1)
		if len(names) == 0 {
			t.Errorf("nothing shows that %s", row[1])
		}
		for _, name := range names {
			shown++
			if !tests[name[1]] {
				t.Errorf("%s, which is to show that %s, does not exist", name[1], row[1])
			}
		}
	}
	if shown == 0 {
		t.Error("security.md promises nothing")
	}
}

// TestDependenciesHaveAReason compares dependencies.md with go.mod.
func TestDependenciesHaveAReason(t *testing.T) {
	mod := read(t, "../go.mod")
	reasons := firstColumn(read(t, "dependencies.md"))
	for _, direct := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(mod, -1) {
		if !slices.Contains(reasons, direct[1]) {
			t.Errorf("dependencies.md gives no reason for %s", direct[1])
		}
	}
	for _, tool := range regexp.MustCompile(`(?m)^tool (\S+)$`).FindAllStringSubmatch(mod, -1) {
		if !slices.ContainsFunc(reasons, func(module string) bool { return strings.HasPrefix(tool[1], module+"/") }) {
			t.Errorf("dependencies.md gives no reason for the tool %s", tool[1])
		}
	}
	for _, module := range reasons {
		if !strings.Contains(mod, "\t"+module+" v") {
			t.Errorf("dependencies.md gives a reason for %s, which go.mod does not have", module)
		}
	}
	if len(reasons) == 0 {
		t.Error("dependencies.md gives no reason for anything")
	}
}

// firstColumn has the first column of each row of text's tables that begins
// with a word in code quotes.
func firstColumn(text string) []string {
	var column []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z0-9_./-]+)` \\|").FindAllStringSubmatch(text, -1) {
		column = append(column, m[1])
	}
	return column
}

func same(t *testing.T, what string, documented, real []string) {
	t.Helper()
	if len(real) == 0 {
		t.Fatalf("%s: none found", what)
	}
	for _, name := range real {
		if !slices.Contains(documented, name) {
			t.Errorf("%s: %s is not documented", what, name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(real, name) {
			t.Errorf("%s: %s is documented and does not exist", what, name)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
