package store

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kita/reconciler/smalldisk"
)

// What is remembered of files takes no room that the desired states may need.
func TestFilesOnAFullDisk(t *testing.T) { smalldisk.Run(t, "256k", filesOnAFullDisk) }

func filesOnAFullDisk(t *testing.T, disk string) {
	s, err := Open(Options{StateDir: filepath.Join(disk, "state"), RunDir: filepath.Join(disk, "run"), BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, known := s.Files("1"); known {
		t.Error("known before anything was saved")
	}
	want := map[string]File{"web": {Hash: "abc"}, "d\nb": {Error: "d\nb.yml:1: no"}}
	if err := s.SaveFiles("1", want); err != nil {
		t.Fatal(err)
	}
	free := smalldisk.Fill(t, disk)
	if err := s.SaveFiles("1", map[string]File{"web": {}}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if got, known := s.readFiles("1"); !known || !maps.Equal(got, want) {
		t.Errorf("then %v, %v", got, known)
	}
	if rest := s.UnsavedFiles(); rest == nil || rest.Version != "1" || !maps.Equal(rest.Files, map[string]File{"web": {}}) {
		t.Errorf("left to be saved: %+v", rest)
	}
	if _, known := s.Files("2"); known {
		t.Error("what another version saw is known")
	}
	if _, err := os.Stat(filepath.Join(disk, "state", filesTemp)); err == nil {
		t.Error("half a file is left")
	}
	free()
	if err := s.SaveFiles("1", nil); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if rest := s.UnsavedFiles(); rest != nil {
		t.Errorf("still to be saved: %+v", rest)
	}
}
