package control

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestASocketIsLostWhereItsPathLeadsElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if IsLost(ln) {
		t.Error("lost, though it is there")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !IsLost(ln) {
		t.Error("not lost, though it was removed")
	}
	again, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !IsLost(ln) || IsLost(again) {
		t.Errorf("the former: %v, the one that is there: %v", IsLost(ln), IsLost(again))
	}
	// The former one leaves the socket alone.
	_ = ln.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
