package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that other users can change is none to rely on, also where it becomes
// one while it is in use.
func TestLogsThatOthersCouldChange(t *testing.T) {
	chmod := func(mode os.FileMode) func(string) error {
		return func(path string) error { return os.Chmod(path, mode) }
	}
	chown := func(uid, gid int) func(string) error {
		return func(path string) error { return os.Chown(path, uid, gid) }
	}
	tests := []struct {
		name, want  string
		asRoot      bool
		worse, well func(path string) error
	}{
		{"others", "it can be written by others: chmod o-w", false, chmod(0o602), chmod(0o600)},
		{"user", "it belongs to user 12345", true, chown(12345, 0), chown(0, 0)},
		{"group", "it can be written by group 12345", true, func(path string) error {
			return errors.Join(os.Chown(path, 0, 12345), os.Chmod(path, 0o620))
		}, chown(0, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.asRoot && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			path := filepath.Join(t.TempDir(), "audit")
			l := newLog(t, path)
			l.Write(event("before"))
			if err := tt.worse(path); err != nil {
				t.Fatal(err)
			}
			for _, l := range []*Log{l, newLog(t, path)} {
				l.Write(event("lost"))
				if err := l.Err(); err == nil || !strings.Contains(err.Error(), path+": "+tt.want) {
					t.Errorf("got %v", err)
				}
			}
			if err := tt.well(path); err != nil {
				t.Fatal(err)
			}
			l.Write(event("after"))
			list := events(t, content(t, path))
			if len(list) != 3 || list[0].Detail != "before" || list[1].Result != "lost" || list[2].Detail != "after" {
				t.Errorf("got %+v", list)
			}
		})
	}
}

func TestALogWithAnotherName(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "audit"), filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("not a log\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(other, path); err != nil {
		t.Fatal(err)
	}
	l := newLog(t, path)
	l.Write(event("lost"))
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "it has 2 names") {
		t.Errorf("got %v", err)
	}
	if got := content(t, other); got != "not a log\n" {
		t.Errorf("the other file has %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Write(event("kept"))
	// Nobody can take the log away by linking it later.
	if err := os.Link(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	l.Write(event("kept"))
	if list := events(t, content(t, path)); len(list) != 3 || l.Err() != nil {
		t.Errorf("got %+v, %v", list, l.Err())
	}
}
