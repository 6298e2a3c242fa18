package e2e

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kita/control"
	"kita/spec"
)

func TestAVersionThatCannotTakeOverIsRefused(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{"a": sleeper})
	pid := in.do(t, spec.VerbStart, "a").Status.Process.PID
	before := in.info(t)
	dir := in.path("bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	script := func(name, text string, mode os.FileMode) string {
		return file(name, []byte("#!/bin/sh\n"+text+"\n"), mode)
	}
	kita, err := os.ReadFile(filepath.Join(world.bin, "kita"))
	if err != nil {
		t.Fatal(err)
	}
	// e_machine of elf(5).
	foreign := bytes.Clone(kita)
	binary.LittleEndian.PutUint16(foreign[18:], uint16(elf.EM_SPARCV9))
	for name, tt := range map[string]struct{ binary, want string }{
		"not there":            {filepath.Join(dir, "none"), "no such file"},
		"a directory":          {dir, "it is not a file"},
		"not executable":       {file("plain", kita, 0o644), "chmod"},
		"written by others":    {file("open", kita, 0o777), "others than root"},
		"another architecture": {file("foreign", foreign, 0o755), "cannot be executed on this machine"},
		"half a binary":        {file("half", kita[:1000], 0o755), "upgrade to "},
		"not kita":             {"/bin/echo", "it does not answer as kita does"},
		"says nothing":         {script("mute", "exit 0", 0o755), "it does not answer as kita does"},
		"fails":                {script("bad", "echo it is the wrong day >&2; exit 1", 0o755), "it says: it is the wrong day"},
		"another format":       {script("format", `exec `+world.bin+`/kita upgrade-check --format 99`, 0o755), "in format 99"},
		"dies":                 {script("dies", "kill -SEGV $$", 0o755), "it says: signal: segmentation fault"},
		"floods":               {script("flood", "while :; do echo ok; done", 0o755), "upgrade to "},
		"hangs":                {script("hang", "sleep 1000 & sleep 1000", 0o755), "it did not answer within 5s"},
	} {
		done, err := in.upgrade(tt.binary)
		var refusal *spec.Refusal
		if !errors.As(err, &refusal) || refusal.Code != spec.BadBinary || !strings.Contains(refusal.Message, tt.want) || strings.Contains(refusal.Message, "\n") {
			t.Errorf("%s: got %+v, %v, want %q", name, done, err, tt.want)
		}
	}
	// server.yml that the new version would not start with.
	config, err := os.ReadFile(in.path("server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in.path("server.yml"), append(config, "nonsense: 1\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := in.upgrade(""); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("with an illegal server.yml: %v", err)
	}
	if err := os.WriteFile(in.path("server.yml"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Dial(control.Target{TCP: in.tcp()}).Upgrade(t.Context(), filepath.Join(world.bin, "kita")); err == nil || !strings.Contains(err.Error(), "unix socket") {
		t.Errorf("a binary named over TCP: %v", err)
	}
	if now := in.info(t); now.PID != before.PID || !now.StartedAt.Equal(before.StartedAt) {
		t.Errorf("the server is another: %+v", now)
	}
	if !in.isAlive(pid) {
		t.Error("the child is gone")
	}
	if done, err := control.Dial(control.Target{TCP: in.tcp()}).Upgrade(t.Context(), ""); err != nil || done.PID != before.PID {
		t.Errorf("an upgrade over TCP: %+v, %v", done, err)
	}
}

// The binary passes the check and cannot be executed when it comes to it: the
// old version goes on, with all who are connected.
func TestABinaryThatCannotBeExecutedAfterAllChangesNothing(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{"a": stubborn})
	in.do(t, spec.VerbStart, "a")
	if err := in.awaitFile("children/a.up"); err != nil {
		t.Fatal(err)
	}
	before := in.info(t)
	stopped := make(chan error, 1)
	go func() {
		_, err := in.client().Do(context.Background(), spec.Command{Verb: spec.VerbStop, Child: "a"})
		stopped <- err
	}()
	in.mustAwait(t, "a", func(v spec.View) bool { return v.Status.Phase == spec.PhaseStopping })
	path := in.path("once")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nchmod 000 \"$0\"\necho ok 9\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := in.upgrade(path)
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || refusal.Code != spec.BadBinary || !strings.Contains(refusal.Message, "permission denied") || !strings.Contains(refusal.Message, "version "+before.Version+" goes on") {
		t.Errorf("got %v", err)
	}
	if now := in.info(t); now.PID != before.PID || now.Version != before.Version {
		t.Errorf("before %+v\nafter %+v", before, now)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the stop that waited: %v", err)
	}
	// What failed is not tried again by itself.
	if done := in.mustUpgrade(t, ""); done.Binary == path {
		t.Errorf("the next upgrade goes to %s", done.Binary)
	}
}

// A version that answers the check and cannot serve is given up.
func TestAVersionThatCannotServeIsGivenUp(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{"a": sleeper})
	pid := in.do(t, spec.VerbStart, "a").Status.Process.PID
	before := in.info(t)
	path := in.path("broken")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n[ \"$1\" = upgrade-check ] && { echo ok 9; exit; }\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if done, err := in.upgrade(path); err == nil {
		t.Errorf("the upgrade says %+v", done)
	}
	if err := in.waitReady(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the old version answers again after %v, want 5s at most", took)
	}
	if now := in.info(t); now.Version != before.Version {
		t.Errorf("before %+v\nafter %+v", before, now)
	}
	if !in.isAlive(pid) {
		t.Error("the child is gone")
	}
}
