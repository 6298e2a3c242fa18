package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestANameIsNotAskedWithoutItsHostsFile: in plain text, where the file may have
// a key for it.
func TestANameIsNotAskedWithoutItsHostsFile(t *testing.T) {
	for name, variables := range map[string][2]string{"no home": {"", ""}, "a relative directory": {"/home/x", "config"}} {
		t.Setenv("HOME", variables[0])
		t.Setenv("XDG_CONFIG_HOME", variables[1])
		if file, err := DefaultFile(); err == nil {
			t.Skipf("the configuration is in %s on this system", file)
		}
		b, err := OpenDefault()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"web1", "localhost:33889", "@web", "web-*"} {
			if _, err := b.Select([]string{word}); err == nil || !strings.Contains(err.Error(), "cannot tell where your hosts.yml is") {
				t.Errorf("%s: %s: %v", name, word, err)
			}
		}
		if selection, err := b.Select([]string{"10.0.0.1,[::1]:1234,ssh://web1"}); err != nil || len(selection.Hosts) != 3 {
			t.Errorf("%s: %+v, %v", name, selection, err)
		}
	}
}

// TestALinkToNothingIsNoMissingFile: the file is elsewhere, on a disk that is
// not mounted.
func TestALinkToNothingIsNoMissingFile(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{link, filepath.Join(link, "hosts.yml")} {
		if _, err := Open(file); err == nil || !strings.Contains(err.Error(), link+" is a link to what is not there") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
