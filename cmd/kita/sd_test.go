package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kita/control"
	"kita/control/controltest"
	"kita/spec"
)

// measured is a service with one child that serves metrics on a port.
func measured(name string, port int) *controltest.Service {
	child := controltest.Child(name)
	child.Metrics = &spec.Metrics{Port: port, Path: "/m"}
	svc := controltest.New(child)
	svc.SetRunning(name, 7)
	return svc
}

// targets are the addresses of a list, and what has been kept of them.
func targets(t *testing.T, text string) []string {
	t.Helper()
	var groups []control.TargetGroup
	if err := json.Unmarshal([]byte(text), &groups); err != nil || groups == nil {
		t.Fatalf("%v: %s", err, text)
	}
	found := []string{}
	for _, g := range groups {
		found = append(found, g.Labels["__meta_kita_child"]+" "+strings.Join(g.Targets, ",")+" of "+g.Labels["__meta_kita_host"]+" "+g.Labels["__meta_kita_server"])
	}
	return found
}

func TestTargetsAreByTheNameOfTheHost(t *testing.T) {
	one, two := serveFake(t, measured("web", 9100)), serveFake(t, measured("db", 9200))
	_, port, _ := net.SplitHostPort(one.tcp)
	_, otherPort, _ := net.SplitHostPort(two.tcp)
	dead := unused(t)
	for _, tt := range []struct {
		name, words string
		status      int
		want        []string
		err         string
	}{
		{"this host", "sd --socket " + one.socket, exitOK, []string{"web localhost:9100 of localhost "}, ""},
		{"this host by its name", "sd --host web1.example --socket " + one.socket, exitOK, []string{"web web1.example:9100 of web1.example "}, ""},
		{"an address", "sd on " + one.tcp, exitOK, []string{"web 127.0.0.1:9100 of 127.0.0.1 127.0.0.1:" + port}, ""},
		{"by IPv6", "sd --host ::1 on " + one.tcp, exitOK, []string{"web [::1]:9100 of ::1 [::1]:" + port}, ""},
		{"several", "sd on " + one.tcp + "," + two.tcp, exitOK, []string{"web 127.0.0.1:9100 of 127.0.0.1 127.0.0.1:" + port, "db 127.0.0.1:9200 of 127.0.0.1 127.0.0.1:" + otherPort}, ""},
		{"one of several is down", "sd on " + dead + "," + two.tcp, exitUnreachable, []string{"db 127.0.0.1:9200 of 127.0.0.1 127.0.0.1:" + otherPort}, "1 of 2 hosts failed"},
		{"all are down", "sd on " + dead, exitUnreachable, nil, "nothing listens on"},
		{"a name for several", "sd --host x on " + one.tcp + "," + two.tcp, exitUsage, nil, "--host x: it is the name of one host, and 2 are asked"},
		{"no name", "sd --host= on " + one.tcp, exitUsage, nil, "--host: give the name"},
		{"a name with a port", "sd --host x:1 on " + one.tcp, exitUsage, nil, "without a port"},
		{"a file that is not read", "sd -w targets.txt", exitUsage, nil, "their name ends in .json, .yml or .yaml"},
		{"no file", "sd --write=", exitUsage, nil, "--write: which file?"},
		{"a child", "sd web", exitUsage, nil, "web"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, out, stderr := kita("", strings.Fields(tt.words)...)
			if status != tt.status || !strings.Contains(stderr, tt.err) || tt.err == "" && stderr != "" && status == exitOK {
				t.Errorf("status %d, stderr %q", status, stderr)
			}
			if tt.want == nil {
				if out != "" {
					t.Errorf("stdout %q", out)
				}
				return
			}
			if got := targets(t, out); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// The file is written in one step, where it has changed, and keeps what it has of a
// host that is down.
func TestTargetsFile(t *testing.T) {
	one, two := serveFake(t, measured("web", 9100)), serveFake(t, measured("db", 9200))
	dir := t.TempDir()
	file := filepath.Join(dir, "kita.json")
	write := func(status int, words string) {
		t.Helper()
		got, out, stderr := kita("", append([]string{"sd", "-w", file}, strings.Fields(words)...)...)
		if got != status || out != "" {
			t.Fatalf("status %d, stdout %q, stderr %q", got, out, stderr)
		}
	}
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	inode := func() os.FileInfo {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	write(exitOK, "on "+one.tcp+","+two.tcp)
	both := read()
	if len(targets(t, both)) != 2 || inode().Mode().Perm() != 0o644 {
		t.Errorf("%v %s", inode().Mode(), both)
	}
	before := inode()
	write(exitOK, "on "+one.tcp+","+two.tcp)
	if !os.SameFile(before, inode()) {
		t.Error("it was written although nothing has changed")
	}
	// Its permissions stay, and a link leads where it led.
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := kita("", "sd", "-w", link, "on", one.tcp); status != exitOK {
		t.Fatalf("status %d, %s", status, stderr)
	}
	if got := targets(t, read()); len(got) != 1 || inode().Mode().Perm() != 0o600 || os.SameFile(before, inode()) {
		t.Errorf("%v %q", inode().Mode(), got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}

	// What was known of a host that is down.
	dead := unused(t)
	down := strings.ReplaceAll(both, two.tcp, dead)
	if err := os.WriteFile(file, []byte(down), 0o644); err != nil {
		t.Fatal(err)
	}
	write(exitUnreachable, "on "+one.tcp+","+dead)
	if got := targets(t, read()); len(got) != 2 || !strings.HasPrefix(got[1], "db ") || !strings.HasSuffix(got[1], dead) {
		t.Errorf("%q", got)
	}
	// Of one that is no longer asked nothing stays.
	write(exitOK, "on "+one.tcp)
	if got := targets(t, read()); len(got) != 1 {
		t.Errorf("%q", got)
	}

	// What is somebody else's is left alone.
	if err := os.WriteFile(file, []byte("- targets: [a]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	write(exitFailed, "on "+one.tcp)
	if got := read(); got != "- targets: [a]\n" {
		t.Errorf("it is %q now", got)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}
