package keyring_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestALockThatIsKeptIsWaitedForOnce: a thousand new hosts do not wait one after
// the other.
func TestALockThatIsKeptIsWaitedForOnce(t *testing.T) {
	key := publicOf(t, ed25519Key(t))
	file := write(t, t.TempDir(), "known_hosts", "")
	holder, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		k, _ := known(false, file)
		begun := time.Now()
		for i := range 1000 {
			err := meet(k, fmt.Sprintf("host%d:33889", i), key)
			if err == nil || !strings.Contains(err.Error(), file+": another program has kept it locked for 5s") {
				t.Fatalf("host %d: %v", i, err)
			}
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := holder.Close(); err != nil {
			t.Fatal(err)
		}
		if err := meet(k, hostAddr, key); err != nil {
			t.Errorf("once it is let go: %v", err)
		}
	})
}

// TestWhatIsNoFileIsNotRead: reading a pipe that nobody writes would not end.
func TestWhatIsNoFileIsNotRead(t *testing.T) {
	key := publicOf(t, ed25519Key(t))
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		k, _ := known(false, path)
		if algorithms := k.Algorithms(hostAddr); algorithms != nil {
			t.Errorf("%s: %q", path, algorithms)
		}
		if err := meet(k, hostAddr, key); err == nil || err.Error() != "cannot read the known hosts in "+path+": it is no file" {
			t.Errorf("%s: %v", path, err)
		}
	}
	k, _ := known(false, os.DevNull)
	if err := meet(k, hostAddr, key); err != nil {
		t.Errorf("what forgets everything: %v", err)
	}
}
