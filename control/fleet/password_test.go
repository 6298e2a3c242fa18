package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoErrorShowsAPassword: errors end in logs and in the scrollback of others.
func TestNoErrorShowsAPassword(t *testing.T) {
	check := func(text string, err error) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "ops:…@h") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, host := range []string{"ssh://ops:hunter2@h", "ssh://ops:a@b/hunter2@h", "ops:hunter2@h", "https://ops:hunter2@h", "ops:hunter2*@h"} {
		_, err := ParseHosts([]string{host})
		check(host, err)
	}
	for _, text := range []string{
		"hosts: {web: 'ssh://ops:hunter2@h'}", "hosts: {'ssh://ops:hunter2@h': {}}", "hosts: {h: {user: 'ops:hunter2'}}",
		"hosts: {web: {}}\ngroups: {all: ['ssh://ops:hunter2@h']}", "hosts: {web: {}}\ngroups: {all: ['ops:hunter2@h,web']}",
	} {
		file := filepath.Join(t.TempDir(), "hosts.yml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(file)
		check(text, err)
	}
}
