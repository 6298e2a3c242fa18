package reconciler

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

// remove removes the file of a child.
func (w *world) remove(child string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.dir, "children", child+".yml")); err != nil {
		w.t.Fatal(err)
	}
}

// toldOfFiles are the events about files since the last time, with their children.
func (w *world) toldOfFiles(from int) (lines []string, next int) {
	w.past.mu.Lock()
	defer w.past.mu.Unlock()
	for _, e := range w.past.events[from:] {
		if e.Type == spec.EventConfig || e.Type == spec.EventForgotten {
			line := e.Child + " " + strings.TrimPrefix(told(e), "config ")
			line, _, _ = strings.Cut(line, " : ")
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines, len(w.past.events)
}

// What became of files while no server lived is told once.
func TestFilesThatChangedWhileNoServerLived(t *testing.T) {
	changed := plain + "env: {A: b}\n"
	broken := "command: [\n"
	w := newWorld(t, "", map[string]string{"same": plain, "changed": plain, "broken": plain, "mended": broken, "still": broken, "runs": plain, "gone": plain})
	w.mustServe()
	first, next := w.toldOfFiles(0)
	if first != nil {
		t.Errorf("at the first start ever: %q", first)
	}
	w.do(spec.VerbStart, "runs")
	w.do(spec.VerbStart, "gone")
	w.do(spec.VerbStop, "gone")
	// This one is told by the server that sees it, and by no other.
	w.write("same", changed)
	w.Refresh()
	w.write("late", plain)
	w.Refresh()
	w.remove("late")
	w.Refresh()
	w.until("forgotten", func() bool { _, known := w.Get("late"); return !known })
	lives, next := w.toldOfFiles(next)
	if want := []string{"late forgotten", "late gone", "late new with its hash", "same changed with its hash"}; !slices.Equal(lives, want) {
		t.Errorf("while it lived: %q", lives)
	}
	w.leave()
	w.write("changed", changed)
	w.write("runs", changed)
	w.write("broken", broken)
	w.write("mended", plain)
	w.write("new", plain)
	w.remove("gone")
	w.mustServe()
	w.until("forgotten", func() bool { _, known := w.Get("gone"); return !known })
	got, next := w.toldOfFiles(next)
	want := []string{
		"broken broken down", "changed changed down with its hash", "gone forgotten", "gone gone down",
		"mended mended down with its hash", "new new down with its hash", "runs changed down with its hash",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	w.leave()
	// One that nobody ever asked for has no entry in the next server.
	w.remove("new")
	w.mustServe()
	got, next = w.toldOfFiles(next)
	if want := []string{"new forgotten", "new gone down"}; !slices.Equal(got, want) {
		t.Errorf("the next one tells %q", got)
	}
	w.leave()
	w.mustServe()
	if got, _ := w.toldOfFiles(next); got != nil {
		t.Errorf("the one after it tells %q", got)
	}
}

// What could not be saved passes from version to version, on a full disk as well: it
// was a server that saw it.
func TestFilesThatCannotBeSavedOutliveAnUpgrade(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain, "gone": plain})
	w.mustServe()
	w.upgrade()
	// Nothing can be written there.
	temp := filepath.Join(w.dir, "state", "files.new")
	if err := os.MkdirAll(filepath.Join(temp, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("new", plain)
	w.write("web", plain+"env: {A: b}\n")
	w.remove("gone")
	w.Refresh()
	w.until("forgotten", func() bool { _, known := w.Get("gone"); return !known })
	want := []string{"gone forgotten", "gone gone", "new new with its hash", "web changed with its hash"}
	got, next := w.toldOfFiles(0)
	if !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
	w.upgrade()
	w.upgrade()
	if got, _ := w.toldOfFiles(next); got != nil {
		t.Errorf("after upgrades: %q", got)
	}
	// Once there is room it is saved, though nothing has changed since.
	if err := os.RemoveAll(temp); err != nil {
		t.Fatal(err)
	}
	w.upgrade()
	w.leave()
	w.remove("new")
	w.mustServe()
	if got, _ := w.toldOfFiles(next); !slices.Equal(got, []string{"new forgotten", "new gone down"}) {
		t.Errorf("then %q", got)
	}
}

// A load path that cannot be read has files that nobody has removed.
func TestFilesOutOfReachAreNotGone(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.leave()
	dir := filepath.Join(w.dir, "children")
	for range 2 {
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		w.mustServe()
		w.leave()
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
	}
	w.write("web", plain+"env: {A: b}\n")
	w.mustServe()
	if got, _ := w.toldOfFiles(0); !slices.Equal(got, []string{"web changed down with its hash"}) {
		t.Errorf("told %q", got)
	}
}

// What a server of another version made of a file is not compared: it may make another
// hash of the same text.
func TestAnotherVersionComparesNothing(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	w.leave()
	seen := filepath.Join(w.dir, "state", "files")
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{strings.Replace(string(text), `"version":""`, `"version":"other"`, 1), "{", ""} {
		if err := os.WriteFile(seen, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		w.write("web", plain+"env: {A: "+filepath.Base(t.TempDir())+"}\n")
		w.mustServe()
		w.leave()
	}
	if got, _ := w.toldOfFiles(0); got != nil {
		t.Errorf("told %q", got)
	}
	// From then on it is known again.
	w.write("web", plain)
	w.mustServe()
	if got, _ := w.toldOfFiles(0); len(got) != 1 {
		t.Errorf("then %q", got)
	}
}
