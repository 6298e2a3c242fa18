package output

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

// stages are all of them, in order.
var stages = []stage{
	afterMaking, afterCopy, afterRename, afterCommit, afterPunch,
	beforeCollapse, afterCollapse, afterPacking, afterPackName, afterPackNote,
}

// crash has the nth passage of a stage end do as if the server had been killed
// there: nothing is cleaned up. It returns whether that came to pass.
func (s *stream) crash(at stage, nth int, do func() error) (crashed bool) {
	s.t.Helper()
	defer func() {
		switch r := recover(); r {
		case nil:
		case at:
			crashed = true
		default:
			panic(r)
		}
	}()
	s.shared.passed = func(now stage) {
		if now == at {
			if nth--; nth == 0 {
				panic(at)
			}
		}
	}
	defer func() { s.shared.passed = func(stage) {} }()
	if err := do(); err != nil {
		s.t.Fatal(err)
	}
	return false
}

// rotateAndPack does all that has stages, on the test's own goroutine.
func (s *stream) rotateAndPack() error {
	if err := s.keepNow(); err != nil {
		return err
	}
	for {
		a, c, ok := s.nextToPack()
		if !ok {
			return nil
		}
		if err := s.packOne(s.t.Context(), a, c); err != nil {
			return err
		}
	}
}

func TestCrashAtAnyStageLosesNothingAndRepeatsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		for _, at := range stages {
			for nth := 1; nth <= 2; nth++ {
				name := fmt.Sprintf("%s, %d", at, nth)
				t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { testCrash(t, filepath.Join(dir, name), at, nth) })
			}
		}
	})
}

func testCrash(t *testing.T, dir string, at stage, nth int) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := rules()
	// The head is not at a block then.
	r.Size, r.Compress = 5000, spec.Zstd
	s := newStream(t, dir, r)
	text := ""
	write := func(n int) {
		i := len(text) / 16
		s.write(lines(i, i+n))
		text += lines(i, i+n)
	}
	write(400)
	crashed := s.crash(at, nth, s.rotateAndPack)
	for i := 0; !crashed && i < 3; i++ {
		// The second collapse comes with a later rotation.
		write(400)
		crashed = s.crash(at, max(nth-1, 1), s.rotateAndPack)
	}
	if !crashed && s.shared.volumes.known[s.Key().Dev] == punches && (at == beforeCollapse || at == afterCollapse) {
		t.Skip("this file system does not collapse")
	}
	if !crashed {
		t.Fatal("the stage was never passed")
	}
	write(10) // while no server is there
	s.restart(s.path)
	s.check(0, text)
	s.checkNames()
	write(500)
	if err := s.rotateAndPack(); err != nil {
		t.Fatal(err)
	}
	s.check(0, text)
	s.check(7001, text[7001:])
	s.checkNames()
	s.restart(s.path)
	s.check(0, text)
}

// checkNames fails the test if the directory has more than the live file and
// what the record names.
func (s *stream) checkNames() {
	s.t.Helper()
	want := []string{filepath.Base(s.path)}
	for _, a := range s.record().Archives {
		want = append(want, a.Name)
	}
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		s.t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		s.t.Errorf("the directory has %q, want %q", got, want)
	}
}

// TestFlatOutWriterAndCrashes accounts for each line of a writer that is at work
// while rotations crash at random stages.
func TestFlatOutWriterAndCrashes(t *testing.T) {
	const crashes, burst = 30, 256 << 10
	onEach(t, func(t *testing.T, dir string) {
		r := rules()
		r.Size, r.Compress = 65_000, spec.Zstd
		s := newStream(t, dir, r)
		bursts, written := make(chan struct{}, 1), make(chan int)
		go func() {
			n := 0
			for range bursts {
				for range burst / 16 / 64 {
					if _, err := s.writer.WriteString(lines(n, n+64)); err != nil {
						t.Error(err)
					}
					n += 64
				}
			}
			written <- n
		}()
		random := rand.New(rand.NewPCG(1, 2))
		for crashed := 0; crashed < crashes; {
			bursts <- struct{}{}
			at := stages[random.IntN(len(stages))]
			if s.crash(at, 1+random.IntN(2), s.rotateAndPack) {
				crashed++
				s.restart(s.path)
			}
		}
		close(bursts)
		n := <-written
		if err := s.rotateAndPack(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d lines, %d archives", n, len(s.record().Archives))
		s.check(0, lines(0, n))
		s.checkNames()
	})
}

func TestMachineThatWentDownBeforeThePunchWasOnDisk(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		s := newStream(t, dir, rules())
		text := lines(0, 600)
		s.write(text)
		if !s.crash(afterCommit, 1, s.keepNow) {
			t.Fatal("the stage was never passed")
		}
		s.restart(s.path)
		got, err := lookAt(s.path)
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(len(text) - 4096); got.allocated > (want+4095)/4096*4096 {
			t.Errorf("%d bytes are still allocated of %d that are in no archive", got.allocated, want)
		}
		s.check(0, text)
	})
}

// Root may write anywhere, so the directory is taken away.
func TestRecordThatCannotBeSavedLosesNothing(t *testing.T) {
	s := newStream(t, t.TempDir(), rules())
	text := lines(0, 600)
	s.write(text)
	dir := string(s.shared.records)
	for _, at := range []stage{"", afterRename} {
		away := dir + ".away"
		move := func() {
			if err := os.Rename(dir, away); err != nil {
				t.Fatal(err)
			}
		}
		if at == "" {
			move()
		}
		s.shared.passed = func(now stage) {
			if now == at {
				move()
			}
		}
		if err := s.keepNow(); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the error is %v", err)
		}
		s.shared.passed = func(stage) {}
		s.check(0, text)
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
	}
	s.mustKeep()
	s.check(0, text)
	s.checkNames()
	if got := len(s.record().Archives); got != 2 {
		t.Errorf("there are %d archives, want 2", got)
	}
}

func TestForeignFilesStay(t *testing.T) {
	dir := t.TempDir()
	foreign := []string{"web.log.000001", "web.log.000002.gz", "web.log.3", "other.log.000001", "web.log.old"}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newStream(t, dir, rules())
	text := lines(0, 600)
	s.write(text)
	if !s.crash(afterRename, 1, s.keepNow) {
		t.Fatal("the stage was never passed")
	}
	s.restart(s.path)
	s.mustKeep()
	s.check(0, text)
	for _, name := range foreign {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != name {
			t.Errorf("%s is now %q, %v", name, got, err)
		}
	}
	var names []string
	for _, a := range s.record().Archives {
		names = append(names, a.Name)
	}
	if want := []string{"web.log.000003", "web.log.000004"}; !slices.Equal(names, want) {
		t.Errorf("the archives are %q, want %q", names, want)
	}
}

func TestLinksInTheDirectoryAreNotFollowed(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(elsewhere, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{toCopy, toPack, "try"} {
		if err := os.Symlink(elsewhere, filepath.Join(dir, tempName("web.log", kind))); err != nil {
			t.Fatal(err)
		}
	}
	r := rules()
	r.Compress = spec.Gzip
	s := newStream(t, dir, r)
	s.write(lines(0, 600))
	if err := s.rotateAndPack(); err != nil {
		t.Fatal(err)
	}
	s.checkNames()
	if got, err := os.ReadFile(elsewhere); err != nil || string(got) != "precious" {
		t.Errorf("the file that the links lead to is %q, %v", got, err)
	}
}
