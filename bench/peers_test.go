//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// A supervisor that ends is not waited for, whatever its status is.
func TestASupervisorThatEndsIsNotWaitedFor(t *testing.T) {
	for status, want := range map[string]string{"0": "exit status 0", "3": "exit status 3"} {
		t.Run(status, func(t *testing.T) {
			w := testWorld(t)
			binary := filepath.Join(t.TempDir(), "runsvdir")
			if err := os.WriteFile(binary, []byte("#!/bin/sh\necho no such thing; exit "+status+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), awaitLimit/2)
			defer cancel()
			err := w.peer(ctx, "runit", binary, 3, &peerValues{})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "no such thing") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// One that goes on in the background is taken for alive.
func TestASupervisorMayGoOnInTheBackground(t *testing.T) {
	testWorld(t)
	p := &peerRun{dir: t.TempDir()}
	defer buryChildren()
	lives, err := p.launch(t.Context(), []string{"/bin/sh", "-c", "sleep 60 &"})
	if err != nil {
		t.Fatal(err)
	}
	p.watching.Wait()
	if cause := context.Cause(lives); cause != nil {
		t.Error(cause)
	}
}

// kita among others leaves no control group, neither when all is measured nor
// when that is interrupted.
func TestKitaAmongOthersLeavesNoControlGroup(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		t.Run(fmt.Sprintf("interrupted %v", interrupted), func(t *testing.T) {
			w := testWorld(t)
			dir := t.TempDir()
			// It says where the server is while it is asked for all.
			info, binary := filepath.Join(dir, "info"), filepath.Join(dir, "kita")
			script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != check ] || %[1]s info -o json >%[2]s\nexec %[1]s \"$@\"\n", w.bin("kita"), info)
			if err := os.WriteFile(binary, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			values := &peerValues{}
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			measured := make(chan error)
			go func() { measured <- w.peer(ctx, "kita", binary, 3, values) }()
			if interrupted {
				waitFor(t, info)
				interrupt()
			}
			if err := <-measured; (err != nil) != interrupted {
				t.Fatal(err)
			}
			if !interrupted && (len(values.start) != 1 || len(values.crash) != peerCrashes || len(values.stop) != 1) {
				t.Errorf("measured %+v", values)
			}
			checkGroupIsGone(t, info)
		})
	}
}

// waitFor waits until there is something in a file.
func waitFor(t *testing.T, file string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); ; <-tick.C {
		if st, err := os.Stat(file); err == nil && st.Size() > 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("nothing is written to %s", file)
		}
	}
}

// checkGroupIsGone looks for the control group of a server that said in the file
// how it is.
func checkGroupIsGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var info spec.Info
	if err := json.Unmarshal(text, &info); err != nil {
		t.Fatal(err)
	}
	_, group, has := strings.Cut(info.Containment, " ")
	if _, err := os.Stat(group); has && strings.HasPrefix(info.Containment, "cgroup") && !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", group, err)
	}
}
