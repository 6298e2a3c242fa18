package keyring_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatOthersCouldChange(t *testing.T) {
	key := ed25519Key(t)
	dir := t.TempDir()
	path := write(t, dir, "ops.pem", spki(t, key.Public()))
	ring := ringOf(dir)
	chmod(t, path, 0o664)
	chmod(t, dir, 0o775)
	if _, err := ring.Named("ops"); err != nil {
		t.Errorf("what the server's own group may write: %v", err)
	}
	chmod(t, path, 0o646)
	_, err := ring.Find(publicOf(t, key), "ops")
	refusedFor(t, err, path, "can be written by others: chmod o-w")
	chmod(t, path, 0o644)
	chmod(t, dir, 0o777)
	_, err = ring.Find(publicOf(t, key), "ops")
	refusedFor(t, err, path, "its directory can be written by others")
	if problems := ring.Problems(); !reflect.DeepEqual(problems, []string{dir + ": can be written by others: chmod o-w"}) {
		t.Errorf("problems %q", problems)
	}
	chmod(t, dir, 0o755)
	if _, err := ring.Named("ops"); err != nil {
		t.Error(err)
	}
}

func TestFilesOfOtherUsersAndGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	path := write(t, dir, "ops.pem", spki(t, ed25519Key(t).Public()))
	ring := ringOf(dir)
	own := func(path string, uid, gid int) {
		t.Helper()
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		path, where string
		uid, gid    int
		mode        os.FileMode
		want        string
	}{
		{path, path + ": ", 12345, 0, 0o600, "belongs to user 12345"},
		{path, path + ": ", 0, 12345, 0o664, "can be written by group 12345: chmod g-w"},
		{path, "", 0, 12345, 0o644, ""},
		{dir, path + ": its directory ", 12345, 0, 0o755, "belongs to user 12345"},
		{dir, path + ": its directory ", 0, 12345, 0o775, "can be written by group 12345: chmod g-w"},
		{dir, "", 0, 12345, 0o755, ""},
	} {
		own(tt.path, tt.uid, tt.gid)
		chmod(t, tt.path, tt.mode)
		_, err := ring.Named("ops")
		switch {
		case tt.want == "":
			if err != nil {
				t.Error(err)
			}
		default:
			refusedFor(t, err, tt.where+tt.want)
		}
		own(tt.path, 0, 0)
		chmod(t, tt.path, 0o755)
	}
}

// Whoever may rename a directory above the keys, or above what a link leads to,
// can put others in their place.
func TestDirectoriesAboveThatOthersCouldChange(t *testing.T) {
	key := ed25519Key(t)
	above := t.TempDir()
	dir := filepath.Join(above, "a", "keys")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := write(t, dir, "ops.pem", spki(t, key.Public()))
	linked := t.TempDir()
	link := filepath.Join(linked, "ops.pem")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "keys")
	if err := os.Symlink(dir, whole); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	for _, tt := range []struct{ dir, file, where string }{
		{dir, path, "its directory "},
		{whole, filepath.Join(whole, "ops.pem"), "its directory "},
		{linked, link, ""},
	} {
		ring := ringOf(tt.dir)
		// What was read is remembered, how safe its place is must not be.
		ring.SetClock(func() time.Time { return later })
		for _, dir := range []string{above, filepath.Join(above, "a")} {
			for _, mode := range []os.FileMode{0o777, 0o755} {
				chmod(t, dir, mode)
				_, err := ring.Find(publicOf(t, key), "ops")
				if mode == 0o755 {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				refusedFor(t, err, tt.file+": "+tt.where+"lies in "+dir+", which can be written by others: chmod o-w")
				if problems := ring.Problems(); len(problems) != 1 || !strings.Contains(problems[0], ": lies in "+dir) {
					t.Errorf("problems %q", problems)
				}
			}
			chmod(t, dir, 0o777|os.ModeSticky)
			if _, err := ring.Named("ops"); err != nil {
				t.Errorf("below a directory like /tmp: %v", err)
			}
			chmod(t, dir, 0o755)
		}
	}
}
