package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

func TestLastGoodIsWhatWasSaved(t *testing.T) {
	tests := []struct{ name, path, content string }{
		{"a file", "/etc/kita/server.yml", "mode: half\nstartup: [a]\n"},
		{"odd path", "/srv/a \"quoted\"\nline/server.yml", "on_exit: stop\n"},
		{"empty", "/etc/kita/server.yml", ""},
		{"none", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := lastGood{t.TempDir()}
			for range 2 {
				if err := l.save(tt.path, []byte(tt.content)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := l.load()
			if err != nil {
				t.Fatal(err)
			}
			want := spec.DefaultServer()
			if tt.path != "" {
				if want, err = spec.ParseServer(tt.path, []byte(tt.content)); err != nil {
					t.Fatal(err)
				}
			}
			if got.File != want.File || got.Mode != want.Mode || got.OnExit != want.OnExit || got.Listen != want.Listen {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if names, err := filepath.Glob(filepath.Join(l.runDir, "*")); err != nil || len(names) != 1 {
				t.Errorf("files %v, %v", names, err)
			}
		})
	}
}

func TestLastGoodThatIsNone(t *testing.T) {
	l := lastGood{t.TempDir()}
	if _, err := l.load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing saved: %v", err)
	}
	for _, text := range []string{"", "mode: half\n", "# \"/etc/kita/server.yml\"\nmode: fast\n"} {
		if err := os.WriteFile(filepath.Join(l.runDir, lastGoodName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := l.load(); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
	if err := (lastGood{"/nowhere"}).save("/a", nil); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
