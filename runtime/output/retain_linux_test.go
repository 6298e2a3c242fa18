package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func (s *stream) archives() []string {
	var names []string
	for _, a := range s.record().Archives {
		names = append(names, a.Name)
	}
	return names
}

func TestRetention(t *testing.T) {
	day := spec.Duration(24 * time.Hour)
	tests := []struct {
		name string
		rule spec.Rotate
		want []string
	}{
		{"the latest", spec.Rotate{Keep: 2}, []string{"web.log.000003", "web.log.000004"}},
		{"none", spec.Rotate{Keep: 0}, nil},
		{"more than there are", spec.Rotate{Keep: 9}, []string{"web.log.000001", "web.log.000002", "web.log.000003", "web.log.000004"}},
		{"the young", spec.Rotate{Keep: 9, MaxAge: 2 * day}, []string{"web.log.000003", "web.log.000004"}},
		{"the latest of the young", spec.Rotate{Keep: 1, MaxAge: 2 * day}, []string{"web.log.000004"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStream(t, t.TempDir(), rules())
			now := at
			for range 4 {
				s.write(lines(0, 10))
				if _, err := s.rotate(t.Context(), now); err != nil {
					t.Fatal(err)
				}
				now = now.Add(day.D())
			}
			test.rule.Size = 4096
			s.configure(&test.rule)
			if err := s.keepSmall(t.Context(), now.Add(-day.D())); err != nil {
				t.Fatal(err)
			}
			if got := s.archives(); !slices.Equal(got, test.want) {
				t.Errorf("kept %q, want %q", got, test.want)
			}
			s.checkNames()
		})
	}
}

func TestNoArchiveIsMadeWhereNoneIsKept(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, &spec.Rotate{Size: 4096})
		text := lines(0, 600)
		s.write(text)
		s.shared.passed = func(now stage) {
			if now == afterCopy {
				t.Error("the head was copied")
			}
		}
		s.mustKeep()
		s.check(8192, text[8192:])
		if oldest, _ := s.Bounds(); oldest != 8192 {
			t.Errorf("the oldest position is %d", oldest)
		}
	})
}

// TestAClockThatWasAheadKeepsNothingBack once a server begins with a right one.
func TestAClockThatWasAheadKeepsNothingBack(t *testing.T) {
	s := newStream(t, t.TempDir(), &spec.Rotate{Size: 4096, Keep: 1000, MaxAge: spec.Duration(time.Hour),
		Every: spec.Duration(time.Hour), Compress: spec.NoCompression})
	s.write(lines(0, 600))
	if _, err := s.rotate(t.Context(), time.Now().AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	s.restart(s.path)
	soon := time.Now().Add(time.Hour)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.expired(soon); n != 3 || !s.everyDue(soon) {
		t.Errorf("%d archives are too old after an hour, and every is due: %t", n, s.everyDue(soon))
	}
}

func TestRetentionForgetsWhatTheUserRemoved(t *testing.T) {
	s := newStream(t, t.TempDir(), rules())
	s.write(lines(0, 1000))
	s.mustKeep()
	if err := os.Remove(s.path + ".000001"); err != nil {
		t.Fatal(err)
	}
	if err := s.removeArchives(s.record().Archives[:2]); err != nil {
		t.Fatal(err)
	}
	if want := []string{"web.log.000003"}; !slices.Equal(s.archives(), want) {
		t.Errorf("kept %q, want %q", s.archives(), want)
	}
}

// threeStreams have one, two and three archives of 4096 bytes, the oldest in
// the last, and hold as many lines besides.
func threeStreams(t *testing.T) []*stream {
	var all []*stream
	for i := range 3 {
		s := newStream(t, t.TempDir(), rules())
		for range i + 1 {
			s.write(lines(0, 256))
			if _, err := s.rotate(t.Context(), at.Add(-time.Duration(i)*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		s.write(lines(0, 100*(i+1)))
		if _, err := s.measure(at); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func TestBudget(t *testing.T) {
	const live = (100 + 200 + 300) * 16
	tests := []struct {
		name     string
		budget   uint64
		archives []int
		left     uint64
	}{
		{"all fits", 6*4096 + live, []int{1, 2, 3}, 6*4096 + live},
		{"the oldest goes", 6*4096 + live - 1, []int{1, 2, 2}, 5*4096 + live},
		{"the oldest of all go first", 2*4096 + live, []int{1, 1, 0}, 2*4096 + live},
		{"then the head of the largest file", live - 1, []int{0, 0, 0}, live - 16},
		{"as much of it as is too much", live - 10*16, []int{0, 0, 0}, live - 10*16},
		{"then the next", live - 301*16, []int{0, 0, 0}, 299 * 16},
		{"then the others", 1, []int{0, 0, 0}, 0},
		{"to nothing", 0, []int{0, 0, 0}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			all := threeStreams(t)
			var files []*File
			for _, s := range all {
				files = append(files, s.File)
			}
			if err := enforceBudget(t.Context(), at, files, test.budget); err != nil {
				t.Fatal(err)
			}
			var got []int
			used := uint64(0)
			for _, s := range all {
				got = append(got, len(s.archives()))
				used += s.used()
				s.checkNames()
			}
			if !slices.Equal(got, test.archives) || used != test.left {
				t.Errorf("there are %v archives and %d bytes, want %v and %d", got, used, test.archives, test.left)
			}
		})
	}
}

func TestBudgetGoesOnWhereAFileCannotBeRemoved(t *testing.T) {
	all := threeStreams(t)
	oldest := all[2].path + ".000001"
	if err := errors.Join(os.Remove(oldest), os.Mkdir(oldest, 0o755)); err != nil {
		t.Fatal(err)
	}
	var files []*File
	for _, s := range all {
		files = append(files, s.File)
	}
	err := enforceBudget(t.Context(), at, files, 5*4096)
	if err == nil || !strings.Contains(err.Error(), oldest) {
		t.Errorf("the error is %v", err)
	}
	if got := len(all[0].archives()) + len(all[1].archives()); got != 0 {
		t.Errorf("the others have %d archives", got)
	}
}

// smallDisk is a file system of so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Geteuid() == 0 && os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no small file system to be had: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	text := lines(0, 16_000) // 256,000 bytes
	tests := []struct {
		name     string
		compress spec.Compression
		keep     int
		// free are blocks that the disk has left.
		free int
		made []string
		full bool
	}{
		{"an archive is made in parts", spec.NoCompression, 9, 40, []string{"web.log.000001", "web.log.000002", "web.log.000003", "web.log.000004"}, false},
		{"which count as one", spec.NoCompression, 2, 40, []string{"web.log.000001", "web.log.000002", "web.log.000003", "web.log.000004"}, false},
		{"what goes anyway goes before", spec.NoCompression, 1, 20, []string{"web.log.000002"}, false},
		{"a part needs a block twice", spec.NoCompression, 9, 1, []string{"web.log.000001"}, true},
		{"what is to be packed needs more", spec.Zstd, 9, 1, []string{"web.log.000001"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := smallDisk(t, "1m")
			r := rules()
			r.Keep, r.Size, r.Compress = test.keep, 250_000, test.compress
			s := newStream(t, dir, r)
			s.write(text)
			s.mustKeep()
			s.write(text)
			filler := filepath.Join(dir, "filler")
			fill(t, filler)
			if err := os.Truncate(filler, sizeOf(t, filler)-int64(4096*test.free)); err != nil {
				t.Fatal(err)
			}
			err := s.keepSmall(t.Context(), at)
			if errors.Is(err, unix.ENOSPC) != test.full || err != nil && (!test.full || strings.Contains(err.Error(), "\n")) {
				t.Errorf("the error is %v", err)
			}
			if err := s.pack(t.Context()); errors.Is(err, unix.ENOSPC) != s.packs() {
				t.Errorf("packing has the error %v", err)
			}
			if got := s.archives(); !slices.Equal(got, test.made) {
				t.Errorf("there are %q, want %q", got, test.made)
			}
			oldest, _ := s.Bounds()
			s.check(oldest, (text + text)[oldest:])
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			s.checkNames()
			if !test.full {
				return
			}
			if got := s.keepSmall(t.Context(), at.Add(firstWait-1)); got != err {
				t.Errorf("during the back-off the error is %v", got)
			}
			if err := s.keepSmall(t.Context(), s.deadline(at)); err != nil {
				t.Errorf("after the back-off the error is %v", err)
			}
			if s.trouble() != nil || len(s.archives()) != 2 {
				t.Errorf("after the back-off there are %q and %v", s.archives(), s.trouble())
			}
			s.check(0, text+text)
		})
	}
}

func TestFullDiskOfTheRecords(t *testing.T) {
	s := newStream(t, t.TempDir(), rules())
	s.state = smallDisk(t, "64k")
	s.restart(s.path)
	text := lines(0, 600)
	s.write(text)
	filler := filepath.Join(s.state, "filler")
	for _, at := range []stage{"", afterRename} {
		if at == "" {
			fill(t, filler)
		}
		s.shared.passed = func(now stage) {
			if now == at {
				fill(t, filler)
			}
		}
		if err := s.keepNow(); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("the error is %v", err)
		}
		s.shared.passed = func(stage) {}
		s.check(0, text)
		s.checkNames()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	s.mustKeep()
	s.check(0, text)
	s.checkNames()
	s.restart(s.path)
	s.check(0, text)
}

func sizeOf(t *testing.T, name string) int64 {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func TestRotationGoesOnInADirectoryThatWasRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newStream(t, dir, rules())
	s.write(lines(0, 300))
	s.mustKeep()
	held, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.measure(at); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a file that is gone and not held has the error %v", err)
	}
	s.holdBy(func() (int, error) { return unix.FcntlInt(held.Fd(), unix.F_DUPFD_CLOEXEC, 0) })
	s.write(lines(300, 600))
	s.mustKeep()
	got, lost := s.readAll(0)
	if want := []LostError{{From: 0, To: 4096}}; !slices.Equal(lost, want) {
		t.Errorf("lost %v, want %v", lost, want)
	}
	if want := lines(256, 600); got != want {
		t.Errorf("read %d bytes; they differ from byte %d on", len(got), differ(got, want))
	}
}
