package owned

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	me, mine := uint32(os.Geteuid()), uint32(os.Getegid())
	for _, tt := range []struct {
		st   unix.Stat_t
		want string
	}{
		{unix.Stat_t{Mode: 0o600, Uid: me, Gid: mine}, ""},
		{unix.Stat_t{Mode: 0o664, Uid: me, Gid: mine}, ""},
		{unix.Stat_t{Mode: 0o775}, ""},
		{unix.Stat_t{Mode: 0o444, Uid: me, Gid: mine + 1}, ""},
		{unix.Stat_t{Mode: 0o400, Uid: me + 1}, "belongs to user"},
		{unix.Stat_t{Mode: 0o602, Uid: me, Gid: mine}, "can be written by others: chmod o-w"},
		{unix.Stat_t{Mode: 0o620, Uid: me, Gid: mine + 1}, "chmod g-w"},
		// Of the directory itself others could at least add to what is in it.
		{unix.Stat_t{Mode: unix.S_ISVTX | 0o777, Uid: me, Gid: mine}, "can be written by others: chmod o-w"},
	} {
		err := Check(&tt.st)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%o of %d:%d: %v, want %q", tt.st.Mode, tt.st.Uid, tt.st.Gid, err, tt.want)
		}
	}
}

func TestCheckParents(t *testing.T) {
	above, err := Resolve(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(above, "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(above, "link")
	if err := os.Symlink("dir", link); err != nil {
		t.Fatal(err)
	}
	if resolved, err := Resolve(link); err != nil || resolved != dir {
		t.Errorf("%s is resolved to %s, %v", link, resolved, err)
	}
	path := filepath.Join(dir, "file")
	for mode, want := range map[os.FileMode]string{
		0o755: "", 0o700: "", 0o777 | os.ModeSticky: "",
		0o777: "lies in " + above + ", which can be written by others: chmod o-w",
	} {
		if err := os.Chmod(above, mode); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := CheckParents(path); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("below a directory of mode %v: %q, want %q", mode, got, want)
		}
	}
	if err := CheckParents(filepath.Join(above, "none", "file")); err == nil {
		t.Error("a directory that is not there is safe")
	}
}
