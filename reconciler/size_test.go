package reconciler

import (
	"math/bits"
	"testing"
	"unsafe"
)

// The largest object of Go's size class of 640 bytes that holds pointers has 632:
// eight tell where they are. The next class, 704, is 10 % more for each child.
func TestEntryFitsItsSizeClass(t *testing.T) {
	if bits.UintSize != 64 {
		t.Skip("pointers are shorter")
	}
	if size := unsafe.Sizeof(entry{}); size > 632 {
		t.Errorf("an entry takes %d bytes, at most 632 are meant", size)
	}
}
