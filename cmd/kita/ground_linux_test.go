package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kita/keeper"
	"kita/reconciler/store"
)

// TestAGroundThatGoesIsMadeAgain removes the directories of a store that nobody
// writes to, and waits for them.
func TestAGroundThatGoesIsMadeAgain(t *testing.T) {
	base := t.TempDir()
	dirs := keeper.Dirs{State: filepath.Join(base, "state"), Run: filepath.Join(base, "run")}
	st, err := store.Open(store.Options{StateDir: dirs.State, RunDir: dirs.Run, BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	calls := make(chan bool, 100)
	fail := true
	g := newGround(&ground{store: st, dirs: dirs, logger: slog.New(slog.DiscardHandler), others: func(stateAnew bool) error {
		calls <- stateAnew
		if fail && stateAnew {
			fail = false
			return errors.New("not yet")
		}
		return nil
	}})
	defer g.close()
	next := func(what string) bool {
		t.Helper()
		select {
		case anew := <-calls:
			return anew
		case <-time.After(30 * time.Second):
			t.Fatalf("not told: %s", what)
			return false
		}
	}
	g.nudge()
	if next("a nudge") {
		t.Error("the state directory is new, though nobody touched it")
	}
	<-g.sockets
	for i := range 3 {
		// At once, so that it is not made again while it is being removed.
		if err := os.Rename(dirs.Run, fmt.Sprint(dirs.Run, i)); err != nil {
			t.Fatal(err)
		}
		for !isThere(filepath.Join(dirs.Run, "lock")) {
			next("the run directory was removed")
		}
	}
	if err := os.Rename(dirs.State, dirs.State+".old"); err != nil {
		t.Fatal(err)
	}
	// What failed is tried again, and only that long.
	for told := 0; told < 2; {
		if next("the state directory was moved") {
			told++
		}
	}
	g.nudge()
	if next("a nudge") {
		t.Error("still new")
	}
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestAHostKeyComesBackAsItWas(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, hostKeyName)
	if err := restoreHostKey(dir, []byte("key\n")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// One that is there counts.
	if err := restoreHostKey(dir, []byte("another\n")); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "key\n" {
		t.Errorf("%q, %v", text, err)
	}
	// A server without a key leaves none.
	empty := t.TempDir()
	if err := restoreHostKey(empty, nil); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
