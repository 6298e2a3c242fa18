package output

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func TestStateThatIsLostTakesNoArchiveAlong(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		text := lines(0, 600)
		s.write(text)
		s.mustKeep()
		before := s.archives()
		s.state = t.TempDir()
		s.restart(s.path)
		// Where the hole stays a hole, or a block of it, no more is known than that.
		got, _ := s.readAll(0)
		if !strings.HasSuffix(got, text[8192:]) || strings.Contains(got, "\x00") {
			t.Errorf("read %d bytes, with what is in the hole", len(got))
		}
		s.write(lines(600, 1200))
		s.mustKeep()
		for _, name := range before {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		if got := s.archives(); slices.Contains(got, before[1]) {
			t.Errorf("%q were given again: %q", before, got)
		}
	})
}

func TestNewFileGoesOnAfterTheOldOne(t *testing.T) {
	for _, live := range []bool{true, false} {
		name := "while a server was there"
		if !live {
			name = "while no server was there"
		}
		t.Run(name, func(t *testing.T) {
			s := newStream(t, t.TempDir(), rules())
			s.write(lines(0, 300))
			s.mustKeep()
			_, end := s.Bounds()
			if err := os.Remove(s.path); err != nil {
				t.Fatal(err)
			}
			if !live {
				s.writer.Close() // so that the number of its inode may be given again
				s.writer = nil
				end = 4096 // what came after is unknown to the next server
			}
			if !live {
				if err := os.WriteFile(s.path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				s.restart(s.path)
			}
			s.append(s.path)
			s.write("new\n")
			s.check(end, "new\n")
			got, _ := s.readAll(0)
			if want := lines(0, 256) + "new\n"; got != want {
				t.Errorf("read %d bytes; they differ from byte %d on", len(got), differ(got, want))
			}
		})
	}
}

func TestRunTellsOfATruncationThatNoRecordHas(t *testing.T) {
	s := newStream(t, t.TempDir(), nil)
	s.write(lines(0, 300))
	if err := s.empty(t.Context(), int(s.writer.Fd()), false, at); err != nil {
		t.Fatal(err)
	}
	s.write("new\n")
	s.check(4800, "new\n")
	base, end, err := s.extent(int(s.writer.Fd()))
	if err != nil || base != 4800 || end != 4804 {
		t.Fatalf("the file is from %d to %d, %v", base, end, err)
	}
	key := s.Key()
	s.restart(s.path)
	if err := s.bind(t.Context(), key, base); err != nil {
		t.Fatal(err)
	}
	s.check(4800, "new\n")
}

func TestEmptyMakesAnArchiveOfAllThereIs(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		text := lines(0, 300) + "unfinished"
		s.write(text)
		if err := s.empty(t.Context(), int(s.writer.Fd()), true, at); err != nil {
			t.Fatal(err)
		}
		if size := sizeOf(t, s.path); size != 0 {
			t.Errorf("%d bytes are left", size)
		}
		s.check(0, text)
		s.write("new\n")
		s.check(0, text+"new\n")
		s.restart(s.path)
		s.check(0, text+"new\n")
	})
}

func TestEmptyWithoutRotationWritesNoRecord(t *testing.T) {
	s := newStream(t, t.TempDir(), nil)
	s.write("old\n")
	if err := s.empty(t.Context(), int(s.writer.Fd()), false, at); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(string(s.shared.records))
	if err != nil || len(entries) != 0 {
		t.Errorf("there are %v, %v", entries, err)
	}
	if oldest, end := s.Bounds(); oldest != 4 || end != 4 {
		t.Errorf("bounds are %d and %d", oldest, end)
	}
}

func TestEmptyKeepsWhatCannotBecomeAnArchive(t *testing.T) {
	s := newStream(t, t.TempDir(), rules())
	s.write("old\n")
	if err := os.RemoveAll(string(s.shared.records)); err != nil {
		t.Fatal(err)
	}
	if err := s.empty(t.Context(), int(s.writer.Fd()), true, at); err != nil {
		t.Fatal(err)
	}
	if s.trouble() == nil {
		t.Error("nothing tells that the old content stayed")
	}
	s.write("new\n")
	s.check(0, "old\nnew\n")
	if err := s.keepSmall(t.Context(), s.deadline(at)); err != nil || s.trouble() != nil {
		t.Errorf("the trouble does not end: %v", s.trouble())
	}
}

func TestPackedArchiveBearsTheTimeOfTheRotation(t *testing.T) {
	for c, ending := range endings {
		r := rules()
		r.Compress = c
		s := newStream(t, t.TempDir(), r)
		s.write(lines(0, 10))
		made, err := s.rotate(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if !s.packs() {
			t.Error("nothing is to be packed")
		}
		if err := s.pack(t.Context()); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(made[0].Path + ending)
		if err != nil {
			t.Fatal(err)
		}
		if !st.ModTime().Equal(at) || st.Mode().Perm() != 0o640 {
			t.Errorf("it is of %v and has the mode %v", st.ModTime(), st.Mode())
		}
		want := []spec.Archive{{Path: made[0].Path + ending, Size: uint64(st.Size()), Bytes: 160, At: at}}
		if got := s.shown().Archives; !slices.Equal(got, want) {
			t.Errorf("shown are %v, want %v", got, want)
		}
		s.check(0, lines(0, 10))
	}
}

func TestArchivesAreTheirOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has files of other users")
	}
	const user = 12345
	dir := t.TempDir()
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	owner := &Owner{UID: user, GID: user}
	path := filepath.Join(dir, "web.log")
	fd, err := openOutput(path, owner, true)
	if err != nil {
		t.Fatal(err)
	}
	writer := os.NewFile(uintptr(fd), path)
	defer writer.Close()
	shared, err := newShared(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := shared.open(path, owner)
	if err != nil {
		t.Fatal(err)
	}
	r := rules()
	r.Compress = spec.Zstd
	f.configure(r)
	if _, err := writer.WriteString(lines(0, 300)); err != nil {
		t.Fatal(err)
	}
	for _, ending := range []string{"", ".zst"} {
		name := path + ".000001" + ending
		if ending == "" {
			err = f.keepSmall(t.Context(), at)
		} else {
			err = f.pack(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil || st.Uid != user || st.Gid != user {
			t.Errorf("%s is of %d:%d, %v", name, st.Uid, st.Gid, err)
		}
	}
	// What the user puts in an archive's place is not read if it is not theirs.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(lines(0, 300)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(string, string) error{"a link": os.Symlink, "a hard link": os.Link} {
		if err := errors.Join(os.Remove(path+".000001.zst"), put(secret, path+".000001.zst")); err != nil {
			t.Fatal(err)
		}
		reader, err := f.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		got, lost, err := drain(reader)
		if got != lines(256, 300) || len(lost) != 1 || lost[0].Err == nil || err != nil {
			t.Errorf("with %s %q was read, lost %v, %v", name, got, lost, err)
		}
		reader.Close()
	}
}
