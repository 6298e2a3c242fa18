package packaging

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const packageBook = "usr/share/doc/kita"

// TestWhatThePagesLeadToIsShipped follows the links of each page that is shipped, and
// looks for the examples that it tells to copy.
func TestWhatThePagesLeadToIsShipped(t *testing.T) {
	r, _ := build(t)
	t.Run("archive", func(t *testing.T) {
		dir := t.TempDir()
		say(t, "tar", "-xzf", r.file(t, "*_linux_"+runtime.GOARCH+".tar.gz"), "-C", dir)
		checkBook(t, filepath.Join(dir, "kita_"+r.version+"_linux_"+runtime.GOARCH))
	})
	t.Run("deb", func(t *testing.T) {
		needs(t, "dpkg-deb")
		dir := t.TempDir()
		say(t, "dpkg-deb", "-x", r.deb(t), dir)
		checkBook(t, filepath.Join(dir, packageBook))
		for _, unit := range []string{"kita.service", "kita-user.service"} {
			content, err := os.ReadFile(filepath.Join(dir, packageBook, "examples", unit))
			if err != nil || !strings.Contains(string(content), "ExecStart=/usr/bin/kita ") {
				t.Errorf("the example %s is not for the binary of the package: %v\n%s", unit, err, content)
			}
		}
	})
	t.Run("rpm", func(t *testing.T) {
		needs(t, "dpkg-deb", "rpm")
		var inDeb, inRPM []string
		dir := t.TempDir()
		say(t, "dpkg-deb", "-x", r.deb(t), dir)
		for _, file := range filesBelow(t, filepath.Join(dir, packageBook)) {
			inDeb = append(inDeb, "/"+packageBook+"/"+file)
		}
		for line := range strings.Lines(say(t, "rpm", "-qlp", r.rpm(t))) {
			if name := strings.TrimSpace(line); strings.HasPrefix(name, "/"+packageBook+"/") {
				inRPM = append(inRPM, name)
			}
		}
		if slices.Sort(inRPM); !slices.Equal(inRPM, slices.Sorted(slices.Values(inDeb))) {
			t.Errorf("the rpm has\n%s\nthe deb\n%s", strings.Join(inRPM, "\n"), strings.Join(inDeb, "\n"))
		}
	})
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)#\s]+)`)
	examplePattern = regexp.MustCompile(`\bexamples/[\w./*-]*[\w/*]`)
)

// checkBook looks for what the pages below root name, in root.
func checkBook(t *testing.T, root string) {
	t.Helper()
	links, examples := 0, 0
	for _, name := range filesBelow(t, root) {
		if filepath.Ext(name) != ".md" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range linkPattern.FindAllStringSubmatch(string(content), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), link[1])); err != nil {
				t.Errorf("%s leads to %s, which is not there", name, link[1])
			}
		}
		for _, example := range examplePattern.FindAllString(string(content), -1) {
			examples++
			if found, err := filepath.Glob(filepath.Join(root, example)); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", name, example)
			}
		}
	}
	if links < 100 || examples < 20 {
		t.Errorf("the pages have %d links and name %d examples", links, examples)
	}
}

// filesBelow are the files and links below a directory, relative to it.
func filesBelow(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		files = append(files, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
