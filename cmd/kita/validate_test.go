package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	good := map[string]string{
		"server.yml":       "loadpaths: [DIR/children]\n",
		"children/db.yml":  "command: sleep 1\n",
		"children/web.yml": "command: sleep 1\nhooks:\n  - prehook: start db\n",
	}
	with := func(name, content string) map[string]string {
		files := map[string]string{name: content}
		for n, c := range good {
			if n != name {
				files[n] = c
			}
		}
		return files
	}
	tests := []struct {
		name   string
		files  map[string]string
		args   string
		status int
		out    string
		err    string
	}{
		{"a server.yml and its children", good, "DIR/server.yml", exitOK, "3 files checked, all good\n", ""},
		{"a file is checked once", good, "DIR/server.yml DIR/children/web.yml", exitOK, "3 files checked, all good\n", ""},
		{"a child file", good, "DIR/children/web.yml", exitOK, "1 file checked, all good\n", ""},
		{"a bad child", with("children/db.yml", "comand: x\n"), "DIR/server.yml", exitFailed, "", "DIR/children/db.yml:1: comand: "},
		{"a bad server.yml", with("server.yml", "\nmode: fast\n"), "DIR/server.yml", exitFailed, "", "DIR/server.yml:2: mode: "},
		{"every bad file is told", with("children/db.yml", "x: 1\n"), "DIR/children/db.yml DIR/nowhere.yml", exitFailed, "", "nowhere.yml"},
		{"a hook without a target", with("children/web.yml", "command: x\nhooks:\n  - prehook: start nope\n"), "DIR/server.yml", exitFailed, "", "DIR/children/web.yml: hooks: "},
		{"a missing load path is a warning", with("server.yml", "loadpaths: [DIR/children, DIR/none]\n"), "DIR/server.yml", exitOK, "3 files checked, all good\n", "kita: warning: "},
		{"exit_with without a file is a warning", with("server.yml", "loadpaths: [DIR/children]\nexit_with: wbe\n"), "DIR/server.yml", exitOK,
			"3 files checked, all good\n", "kita: warning: DIR/server.yml: exit_with: no file wbe.yml or wbe.yaml in the load paths\n"},
		{"so is startup", with("server.yml", "loadpaths: [DIR/children]\nexit_with: web\nstartup: [web, bd]\n"), "DIR/server.yml", exitOK,
			"3 files checked, all good\n", "kita: warning: DIR/server.yml: startup: no file bd.yml or bd.yaml in the load paths\n"},
		{"a name that is reserved", with("children/all.yml", "command: x\n"), "DIR/children/all.yml", exitFailed, "", "DIR/children/all.yml: "},
		{"no child file", with("children/web.txt", "x"), "DIR/children/web.txt", exitFailed, "", "holds no child"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "DIR", dir)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"validate"}, strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))...)
			status, out, stderr := kita("", args...)
			stderr = strings.ReplaceAll(stderr, dir, "DIR")
			if status != tt.status || out != tt.out || !strings.Contains(stderr, tt.err) || tt.err == "" && stderr != "" {
				t.Errorf("status %d, want %d, stdout %q, want %q\nstderr, want %q:\n%s", status, tt.status, out, tt.out, tt.err, stderr)
			}
		})
	}
}
