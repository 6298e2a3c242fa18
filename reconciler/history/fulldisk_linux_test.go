package history

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kita/reconciler/smalldisk"
	"kita/spec"
)

func TestFullDisk(t *testing.T) { smalldisk.Run(t, "512k", onFullDisk) }

func onFullDisk(t *testing.T, dir string) {
	small := open(t, dir)
	small.Add(started("web", 1))
	if got := readAll(t, small); len(got) > 0 || small.Err() == nil || !strings.Contains(small.Err().Error(), "has only 512 KiB") {
		t.Errorf("on a small disk: %d events, %v", len(got), small.Err())
	}
	small.Close()
	smalldisk.Remount(t, dir, "4m", 0)
	if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir)
	defer h.Close()
	e := started("web", 1)
	e.Message = strings.Repeat("x", 1000)
	// All but a part of what is reserved is taken.
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 7<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	added := uint64(0)
	for h.Err() == nil {
		h.Add(e)
		h.Flush(t.Context())
		added++
	}
	if !errors.Is(h.Err(), syscall.ENOSPC) || added != 1 {
		t.Fatalf("after %d: %v", added, h.Err())
	}
	// What the children are to do can still be saved.
	journal := filepath.Join(dir, "journal")
	if err := os.WriteFile(journal, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	// With room for some of what waits that is written.
	if err := os.Truncate(filepath.Join(dir, "filler"), 11<<18); err != nil {
		t.Fatal(err)
	}
	for h.Add(e); len(readAll(t, h)) < 2; h.Add(e) {
		added++
	}
	added++
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 7<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Add(e)
	added++
	h.Flush(t.Context())
	if !errors.Is(h.Err(), syscall.ENOSPC) {
		t.Fatal(h.Err())
	}
	for h.Lost() == 0 {
		h.Add(e)
		added++
	}
	smalldisk.Remount(t, dir, "16m", 0)
	got := readAll(t, h)
	if last := got[len(got)-1]; last.Type != spec.EventLost || last.Lost != 1 || !strings.Contains(last.Message, "no space left") {
		t.Errorf("the last is %+v", last)
	}
	if h.Err() != nil || got[len(got)-2].Seq != added-1 {
		t.Errorf("%v; the one before is %d of %d", h.Err(), got[len(got)-2].Seq, added)
	}
	h.Close()
	smalldisk.Remount(t, dir, "16m", syscall.MS_RDONLY)
	readOnly := open(t, dir)
	defer readOnly.Close()
	readOnly.Add(e)
	if len(readAll(t, readOnly)) != len(got) || !errors.Is(readOnly.Err(), syscall.EROFS) {
		t.Errorf("%v", readOnly.Err())
	}
	if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
		t.Error(err)
	}
}
