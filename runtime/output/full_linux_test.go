package output

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// TestFullDiskIsToldAlsoWithoutRotation, and no more once there is room.
func TestFullDiskIsToldAlsoWithoutRotation(t *testing.T) {
	dir := smallDisk(t, "1m")
	m, told := newManager(t, nil)
	c := childTo(filepath.Join(dir, "web.log"), spec.Append, nil)
	r := launch(t, m, c, 1)
	r.write(t, "a line\n")
	awaitThat(t, "the line is written", func() bool { return sizeOf(t, c.Stdout.Path) > 0 })
	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	r.write(t, "one that fits into the block\n")
	awaitFault(t, told, "write "+c.Stdout.Path+": no space left on device")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	awaitFault(t, told, "")
}

// TestRootMayFillWhatIsReserved: where only root can write there is room for root
// as long as a block can be had.
func TestRootMayFillWhatIsReserved(t *testing.T) {
	onlyRoot(t)
	s := newStream(t, smallDisk(t, "1m"), nil)
	if s.noRoom(s.path) || s.writesNoBlock() {
		t.Error("an empty file system is full")
	}
	fill(t, s.path+".filler")
	var fs unix.Statfs_t
	if err := unix.Statfs(s.path, &fs); err != nil || fs.Bfree > 0 {
		t.Fatalf("%d blocks are free, %v", fs.Bfree, err)
	}
	if !s.noRoom(s.path) || !s.writesNoBlock() {
		t.Error("a full file system is not")
	}
}
