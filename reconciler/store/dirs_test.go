package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultDirs(t *testing.T) {
	for _, tt := range []struct {
		name       string
		uid        int
		env        map[string]string
		state, run string
		error      string
	}{
		{name: "root", uid: 0, env: map[string]string{"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"},
			state: "/var/lib/kita", run: "/run/kita"},
		{name: "user", uid: 1000, env: map[string]string{"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r", "HOME": "/h"},
			state: "/s/kita", run: "/r/kita"},
		{name: "state in the home", uid: 1000, env: map[string]string{"XDG_RUNTIME_DIR": "/r", "HOME": "/h"},
			state: "/h/.local/state/kita", run: "/r/kita"},
		{name: "relative state paths are ignored", uid: 1000, env: map[string]string{"XDG_STATE_HOME": "s", "HOME": "h", "XDG_RUNTIME_DIR": "/r"},
			run: "/r/kita", error: "neither XDG_STATE_HOME nor HOME is set"},
		{name: "relative runtime path is ignored", uid: 1000, env: map[string]string{"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "r"},
			state: "/s/kita", error: "/nowhere/kita-1000: no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, run, err := defaultDirs(tt.uid, func(name string) string { return tt.env[name] }, "/nowhere")
			if state != tt.state || run != tt.run {
				t.Errorf("got %s, %s", state, run)
			}
			if (err == nil) != (tt.error == "") || err != nil && !strings.Contains(err.Error(), tt.error) {
				t.Errorf("error %v, want %q", err, tt.error)
			}
		})
	}
}

func TestRunDirectoryInTmpIsOursAlone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		uid   int
		there func(dir string) error
		error string
	}{
		{name: "made", uid: os.Getuid(), there: func(string) error { return nil }},
		{name: "there", uid: os.Getuid(), there: func(dir string) error { return os.Mkdir(dir, 0o700) }},
		{name: "open to others", uid: os.Getuid(), there: func(dir string) error { return errors.Join(os.Mkdir(dir, 0o711), os.Chmod(dir, 0o711)) }, error: "is open to others: chmod 700"},
		{name: "of somebody else", uid: os.Getuid() + 1, there: func(dir string) error { return os.Mkdir(dir, 0o700) }, error: "belongs to user"},
		{name: "a link", uid: os.Getuid(), there: func(dir string) error { return os.Symlink(t.TempDir(), dir) }, error: "is not a directory"},
		{name: "a file", uid: os.Getuid(), there: func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, error: "is not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "kita-1000")
			if err := tt.there(dir); err != nil {
				t.Fatal(err)
			}
			err := privateDir(dir, tt.uid)
			if (err == nil) != (tt.error == "") || err != nil && !strings.Contains(err.Error(), tt.error) {
				t.Fatalf("error %v, want %q", err, tt.error)
			}
			if info, statErr := os.Lstat(dir); err == nil && (statErr != nil || info.Mode() != os.ModeDir|0o700) {
				t.Errorf("mode %v, %v", info.Mode(), statErr)
			}
		})
	}
}
