package main

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kita/keeper"
	"kita/spec"
)

func TestDirectoriesOfTheFormerServerStayInUse(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	own, err := chooseDirs(spec.DefaultServer(), keeper.Dirs{})
	if err != nil {
		t.Fatal(err)
	}
	set := spec.DefaultServer()
	set.StateDir, set.RunDir = "/new/state", "/new/run"
	tests := []struct {
		name         string
		config       *spec.Server
		former, want keeper.Dirs
	}{
		{"the first server", set, keeper.Dirs{}, keeper.Dirs{State: "/new/state", Run: "/new/run"}},
		{"another server.yml", set, keeper.Dirs{State: "/s", Run: "/r"}, keeper.Dirs{State: "/s", Run: "/r"}},
		{"a keeper that knows the one only", set, keeper.Dirs{Run: "/r"}, keeper.Dirs{State: "/new/state", Run: "/r"}},
		{"defaults by now", spec.DefaultServer(), keeper.Dirs{State: "/s", Run: "/r"}, keeper.Dirs{State: "/s", Run: "/r"}},
		{"one of two", spec.DefaultServer(), keeper.Dirs{Run: "/r"}, keeper.Dirs{State: own.State, Run: "/r"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := chooseDirs(tt.config, tt.former); got != tt.want || err != nil {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestTheVersionBeforeTellsMoreThanTheKeeper(t *testing.T) {
	h := &handover{StateDir: "/s", RunDir: "/r"}
	if got, want := formerDirs(h, nil), (keeper.Dirs{State: "/s", Run: "/r"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := formerDirs(nil, nil); got != (keeper.Dirs{}) {
		t.Errorf("of the first server: %+v", got)
	}
}

func TestSettingsThatAreOutdatedAreNamed(t *testing.T) {
	config := spec.DefaultServer()
	config.StateDir, config.RunDir = "/s", "/r"
	l := &listeners{listenAddress: config.Listen.String()}
	lines := func() []string {
		return outdated(append(l.inUse(config), dirsInUse(config, keeper.Dirs{State: "/s", Run: "/r"})...))
	}
	if got := lines(); len(got) > 0 {
		t.Errorf("of what is in use: %q", got)
	}
	config.MetricsAddr, config.RunDir = "127.0.0.1:9100", "/new"
	got := lines()
	for i := range got {
		got[i], _, _ = strings.Cut(got[i], " in use: ")
	}
	want := []string{
		"metrics_addr: server.yml says 127.0.0.1:9100 by now, none stays",
		"run_dir: server.yml says /new by now, /r stays",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestASocketOfSystemdElsewhereIsTold(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, runDir string
		told         bool
	}{
		{filepath.Join(dir, "kita.sock"), dir, false},
		{filepath.Join(dir, "kita.sock"), link, false},
		{filepath.Join(dir, "other.sock"), dir, true},
		{filepath.Join(dir, "kita.sock"), "/nonexistent", true},
	} {
		ln, err := net.Listen("unix", tt.path)
		if err != nil {
			t.Fatal(err)
		}
		l := &listeners{unix: ln, given: map[string]bool{keyUnix: true}}
		line, want := l.elsewhere(tt.runDir), filepath.Join(tt.runDir, socketName)
		if told := strings.Contains(line, tt.path) && strings.Contains(line, "ListenStream="+want); told != tt.told || !told && line != "" {
			t.Errorf("%s in %s: %q", tt.path, tt.runDir, line)
		}
		l.given = nil
		if line := l.elsewhere(tt.runDir); line != "" {
			t.Errorf("of one of its own: %s", line)
		}
		_ = ln.Close()
	}
}
