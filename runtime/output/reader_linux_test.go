package output

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"kita/spec"
)

func TestReaderGoesOnAcrossRotations(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		r := rules()
		r.Compress = spec.Gzip
		s := newStream(t, dir, r)
		reader, err := s.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		got := ""
		for i := range 20 {
			s.write(lines(100*i, 100*i+100))
			if i%3 == 0 {
				if err := s.rotateAndPack(); err != nil {
					t.Fatal(err)
				}
			}
			if i%2 == 0 {
				text, lost, err := drain(reader)
				if err != nil || lost != nil {
					t.Fatal(lost, err)
				}
				got += text
			}
			if _, end := s.Bounds(); i%2 == 0 && reader.pos != end {
				t.Errorf("the position is %d at the end %d", reader.pos, end)
			}
		}
		text, _, err := drain(reader)
		if err != nil {
			t.Fatal(err)
		}
		if got += text; got != lines(0, 2000) {
			t.Errorf("read %d bytes; they differ from byte %d on", len(got), differ(got, lines(0, 2000)))
		}
	})
}

func TestReaderKeepsAnArchiveThatIsRemovedOrPacked(t *testing.T) {
	for _, c := range []spec.Compression{spec.NoCompression, spec.Zstd, spec.Gzip} {
		t.Run(string(c), func(t *testing.T) {
			r := rules()
			r.Compress = c
			s := newStream(t, t.TempDir(), r)
			s.write(lines(0, 600))
			if err := s.rotateAndPack(); err != nil {
				t.Fatal(err)
			}
			reader, err := s.Open(16)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			first := make([]byte, 16)
			if _, err := io.ReadFull(reader, first); err != nil {
				t.Fatal(err)
			}
			r.Compress = spec.Zstd
			if err := s.rotateAndPack(); err != nil {
				t.Fatal(err)
			}
			if err := s.removeArchives(s.record().Archives[:2]); err != nil {
				t.Fatal(err)
			}
			rest, lost, err := drain(reader)
			if err != nil {
				t.Fatal(err)
			}
			if want := []LostError{{From: 4096, To: 8192}}; !slices.Equal(lost, want) {
				t.Errorf("lost %v, want %v", lost, want)
			}
			text := lines(0, 600)
			if got := string(first) + rest; got != text[16:4096]+text[8192:] {
				t.Errorf("read %d bytes; they differ from byte %d on", len(got), differ(got, text[16:4096]+text[8192:]))
			}
		})
	}
}

// TestFollowersDuringRotations has readers at work while the head is cut off and
// archives are packed: each gets every byte once.
func TestFollowersDuringRotations(t *testing.T) {
	const rounds, followers = 30, 3
	onEach(t, func(t *testing.T, dir string) {
		r := rules()
		r.Size, r.Compress = 16<<10, spec.Zstd
		s := newStream(t, dir, r)
		want := lines(0, rounds*1000)
		var group sync.WaitGroup
		var written atomic.Bool
		for range followers {
			reader, err := s.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				defer reader.Close()
				got := ""
				for last := false; !last; {
					last = written.Load()
					text, lost, err := drain(reader)
					if got += text; err != nil || lost != nil {
						t.Error(lost, err)
						return
					}
					goruntime.Gosched()
				}
				if got != want {
					t.Errorf("read %d bytes; they differ from byte %d on", len(got), differ(got, want))
				}
			})
		}
		group.Go(func() {
			defer written.Store(true)
			for i := range rounds * 10 {
				if _, err := s.writer.WriteString(lines(100*i, 100*i+100)); err != nil {
					t.Error(err)
				}
			}
		})
		for range rounds {
			if _, err := s.rotate(t.Context(), at); err != nil {
				t.Error(err)
			}
			if err := s.pack(t.Context()); err != nil {
				t.Error(err)
			}
		}
		group.Wait()
	})
}

func TestHeadDoesNotMoveDuringARead(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		text := lines(0, 600)
		s.write(text)
		reader, err := s.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		rotated := make(chan error, 1)
		var once sync.Once
		s.shared.passed = func(now stage) {
			if now != whileReading {
				return
			}
			once.Do(func() {
				var over atomic.Bool
				go func() {
					defer over.Store(true)
					rotated <- s.keepNow()
				}()
				// It is over, or waits for the reader.
				for !over.Load() && s.layout.TryRLock() {
					s.layout.RUnlock()
					goruntime.Gosched()
				}
			})
		}
		got, lost, err := drain(reader)
		if err != nil || lost != nil || got != text {
			t.Errorf("read %d bytes, lost %v, %v; they differ from byte %d on", len(got), lost, err, differ(got, text))
		}
		if err := <-rotated; err != nil {
			t.Error(err)
		}
		s.check(0, text)
	})
}

func TestReaderTellsWhatIsLost(t *testing.T) {
	text := lines(0, 600)
	tests := []struct {
		name     string
		compress spec.Compression
		spoil    func(t *testing.T, dir string) error
		from     uint64
		lost     [2]uint64
		damaged  bool
	}{
		{"the user removed an archive", spec.NoCompression, func(t *testing.T, dir string) error {
			return os.Remove(filepath.Join(dir, "web.log.000002"))
		}, 0, [2]uint64{4096, 8192}, false},
		{"in the midst of what was removed", spec.Zstd, func(t *testing.T, dir string) error {
			return os.Remove(filepath.Join(dir, "web.log.000001.zst"))
		}, 1000, [2]uint64{1000, 4096}, false},
		{"an archive was cut short", spec.NoCompression, func(t *testing.T, dir string) error {
			return os.Truncate(filepath.Join(dir, "web.log.000001"), 1600)
		}, 0, [2]uint64{1600, 4096}, true},
		{"an archive is no archive", spec.Zstd, func(t *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "web.log.000001.zst"), []byte("nonsense"), 0o600)
		}, 0, [2]uint64{0, 4096}, true},
		{"an archive is no archive either", spec.Gzip, func(t *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "web.log.000001.gz"), []byte("nonsense"), 0o600)
		}, 0, [2]uint64{0, 4096}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			r := rules()
			r.Compress = test.compress
			s := newStream(t, dir, r)
			s.write(text)
			if err := s.rotateAndPack(); err != nil {
				t.Fatal(err)
			}
			if err := test.spoil(t, dir); err != nil {
				t.Fatal(err)
			}
			got, lost := s.readAll(test.from)
			if len(lost) != 1 || [2]uint64{lost[0].From, lost[0].To} != test.lost || lost[0].Err != nil != test.damaged {
				t.Errorf("lost %v, want %v", lost, test.lost)
			}
			if want := text[test.from:test.lost[0]] + text[test.lost[1]:]; got != want {
				t.Errorf("read %d bytes; they differ from byte %d on", len(got), differ(got, want))
			}
		})
	}
}

func TestReaderOfNothing(t *testing.T) {
	s, err := newShared(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "logs", "web.log")
	f, err := s.open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if made, err := f.rotate(t.Context(), at); made != nil || err != nil {
		t.Errorf("made %v, %v", made, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

func TestTruncatedFileGoesOnAfterWhatWasSeen(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		s.write(lines(0, 300))
		s.mustKeep()
		if err := os.Truncate(s.path, 0); err != nil {
			t.Fatal(err)
		}
		s.write("new\n")
		if oldest, end := s.Bounds(); oldest != 0 || end != 4804 {
			t.Errorf("bounds are %d and %d", oldest, end)
		}
		got, lost := s.readAll(0)
		if want := lines(0, 256) + "new\n"; got != want {
			t.Errorf("read %d bytes; they differ from byte %d on", len(got), differ(got, want))
		}
		if want := []LostError{{From: 4096, To: 4800}}; !slices.Equal(lost, want) {
			t.Errorf("lost %v, want %v", lost, want)
		}
		s.write(lines(0, 300))
		s.mustKeep()
		s.restart(s.path)
		s.check(4800, "new\n"+lines(0, 300))
	})
}
