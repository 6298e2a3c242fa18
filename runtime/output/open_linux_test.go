package output

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user that is not trusted.
var nobody = &Owner{UID: 65534, GID: 65534}

func onlyRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root opens files for other users")
	}
}

func TestLogOfAnotherUserMayBeTheServersOwnOutput(t *testing.T) {
	onlyRoot(t)
	own, err := os.Create(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	fd, err := openOutput("/dev/fd/"+strconv.Itoa(int(own.Fd())), nobody, false)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if keyOf(fd) != keyOf(int(own.Fd())) {
		t.Error("opened another file")
	}
}
