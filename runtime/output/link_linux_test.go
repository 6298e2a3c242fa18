package output

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/spec"
)

func replaceByLink(t *testing.T, path, target string) {
	t.Helper()
	if err := os.Symlink(target, path+".link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".link", path); err != nil {
		t.Fatal(err)
	}
}

// TestLinkInPlaceOfAFileLeadsNowhere: neither the archives nor the reading of a
// child go where a link leads that was put in the place of its file.
func TestLinkInPlaceOfAFileLeadsNowhere(t *testing.T) {
	small := &spec.Rotate{Size: 4096, Keep: 3, Compress: spec.NoCompression}
	m, told := newManager(t, nil)
	dir := t.TempDir()
	victim := named("db", filepath.Join(dir, "db", "out.log"), small)
	v := launch(t, m, victim, 1)
	theirs := lines(9000, 9600)
	v.write(t, theirs)
	c := childTo(filepath.Join(dir, "web", "out.log"), spec.Append, small)
	r := launch(t, m, c, 1)
	r.write(t, "before\n")
	f := theFile(t, m, c)
	awaitThat(t, "written", func() bool { _, end := f.Bounds(); return end == 7 })
	replaceByLink(t, c.Stdout.Path, "../db/out.log")
	awaitFault(t, told, "was replaced by a symbolic link; what the process writes is kept")
	ours := strings.Repeat("after\n", 1000)
	r.write(t, ours)
	awaitThat(t, "an archive", func() bool { return len(f.Segments()) > 1 })
	if _, err := m.Rotate(t.Context(), c.Name, c); err != nil {
		t.Error(err)
	}
	r.end(t)
	m.Detach(c.Name, 1)
	if got := content(t, f); got != "before\n"+ours {
		t.Errorf("%d bytes are there of %d", len(got), len(ours)+7)
	}
	if got := content(t, m.Files("db", victim)[0].File); got != theirs {
		t.Errorf("%d bytes of the other child are there of %d", len(got), len(theirs))
	}
	for _, a := range f.shown().Archives {
		if _, err := os.Lstat(a.Path); err != nil || filepath.Dir(a.Path) != filepath.Join(dir, "web") {
			t.Errorf("an archive is shown at %s: %v", a.Path, err)
		}
	}
}

// TestLinkThatComesUnderRotationIsAFault: it is told as a start would, the file
// is read on, and the fault ends with the rule.
func TestLinkThatComesUnderRotationIsAFault(t *testing.T) {
	m, told := newManager(t, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "web.log")
	if err := os.Symlink("real.log", path); err != nil {
		t.Fatal(err)
	}
	c := childTo(path, spec.Append, nil)
	r := launch(t, m, c, 1)
	text := lines(0, 600)
	r.write(t, text)
	f := theFile(t, m, c)
	awaitThat(t, "written", func() bool { return content(t, f) == text })
	m.Configure(childTo(path, spec.Append, rules()))
	awaitFault(t, told, path+": it is a symbolic link, rotation needs a regular file: remove it, or write rotate: off")
	if got := content(t, f); got != text || len(f.Segments()) != 1 {
		t.Errorf("%d bytes are there of %d, in %d parts", len(got), len(text), len(f.Segments()))
	}
	m.Configure(c)
	awaitFault(t, told, "")
}

// TestLinkBesideArchivesIsNotBlamedOnRotation that is off: the file is read on.
func TestLinkBesideArchivesIsNotBlamedOnRotation(t *testing.T) {
	m, told := newManager(t, nil)
	path := filepath.Join(t.TempDir(), "web.log")
	c := childTo(path, spec.Append, rules())
	r := launch(t, m, c, 1)
	text := lines(0, 600)
	r.write(t, text)
	f := theFile(t, m, c)
	awaitThat(t, "archives", func() bool { return len(f.Segments()) == 3 })
	m.Configure(childTo(path, spec.Append, nil))
	if err := os.Rename(path, path+".real"); err != nil {
		t.Fatal(err)
	}
	awaitFault(t, told, "was moved to")
	if err := os.Symlink("web.log.real", path); err != nil {
		t.Fatal(err)
	}
	r.write(t, "more\n")
	awaitThat(t, "all of it", func() bool { return content(t, f) == text+"more\n" })
	e := m.Files(c.Name, c)[0].entry
	if _, err := m.checkPlace(e); err != nil {
		t.Error(err)
	}
	if got := m.faultOf(e); !strings.Contains(got, "was moved to") {
		t.Errorf("told %q", got)
	}
}

// TestArchivesAreShownWhateverTookThePlaceOfTheFile of a child that cannot be
// started for it.
func TestArchivesAreShownWhateverTookThePlaceOfTheFile(t *testing.T) {
	m, _ := newManager(t, nil)
	c := childTo(filepath.Join(t.TempDir(), "web.log"), spec.Append, rules())
	r := launch(t, m, c, 1)
	text := lines(0, 256)
	r.write(t, text)
	f := theFile(t, m, c)
	awaitThat(t, "an archive", func() bool { return len(f.Segments()) > 1 })
	r.end(t)
	m.Detach(c.Name, 1)
	if err := os.Remove(c.Stdout.Path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(c.Stdout.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, rotate := range []*spec.Rotate{c.Stdout.Rotate, nil} {
		again := childTo(c.Stdout.Path, spec.Append, rotate)
		if got := content(t, theFile(t, m, again)); got != text {
			t.Errorf("%d bytes are there of %d", len(got), len(text))
		}
	}
}

// TestTheServersOwnOutputIsNotAChilds, also where /dev/stderr is a file.
func TestTheServersOwnOutputIsNotAChilds(t *testing.T) {
	m, _ := newManager(t, nil)
	log, err := os.Create(filepath.Join(t.TempDir(), "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := childTo(fdPath(int(log.Fd())), spec.Append, nil)
	if files := m.Files("web", c); len(files) != 0 {
		t.Errorf("%d files before the run", len(files))
	}
	r := launch(t, m, c, 1)
	r.write(t, "a line\n")
	if len(r.outs) != 1 || r.outs[0].Inode != 0 || len(m.Files("web", c)) != 0 {
		t.Errorf("it is looked after: %+v", r.outs)
	}
}
