package store

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

func mustSave(t *testing.T, s *Store, name, data string) {
	t.Helper()
	if err := s.SaveFacts(name, Facts{Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

func TestFactsSurviveRestartInOneBoot(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	want := map[string]Facts{}
	for _, name := range oddNames() {
		mustSave(t, s, name, `"old"`)
		mustSave(t, s, name, `{"args":["<a>","b\n"],"n":1}`)
		want[name] = Facts{Boot: "1", Data: []byte(`{"args":["<a>","b\n"],"n":1}`)}
	}
	mustSave(t, s, "removed", `1`)
	for range 2 {
		if err := s.RemoveFacts("removed"); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)

	s = d.open(t, "1")
	if got, errs := s.Facts(); !reflect.DeepEqual(got, want) || errs != nil {
		t.Errorf("got  %v, %v\nwant %v", got, errs, want)
	}
}

// oldFile is the file of a single child, as versions before the table wrote it.
func (d *dirs) oldFile(t *testing.T, boot, name, data string) []byte {
	t.Helper()
	line, err := encodeLine(factsRecord{Version: factsVersion, Name: escape(name), Boot: boot, Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	d.writeFacts(t, fileName(name), line)
	return line
}

func (d *dirs) factsPath(name string) string { return filepath.Join(d.run, "children", name) }

func (d *dirs) writeFacts(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(d.factsPath(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOldFilesThatCannotBeUsedAreRemovedAndReported(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "2")
	mustSave(t, s, "other", `"later"`)
	line := d.oldFile(t, "2", "good", `"data"`)
	d.oldFile(t, "2", "other", `"earlier"`)
	d.oldFile(t, "1", "foreign", `1`)
	newer, err := encodeLine(factsRecord{Version: 3, Name: "newer", Boot: "2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"torn":              line[:30],
		"flipped":           []byte(strings.Replace(string(line), "data", "dada", 1)),
		"copied":            line,
		"newer":             newer,
		"empty":             nil,
		tempPrefix + "1234": []byte("half"),
	} {
		d.writeFacts(t, name, content)
	}

	facts, errs := s.Facts()
	want := map[string]Facts{"good": {Boot: "2", Data: []byte(`"data"`)}, "other": {Boot: "2", Data: []byte(`"later"`)}}
	if !reflect.DeepEqual(facts, want) {
		t.Errorf("facts %v", facts)
	}
	var got []string
	for _, err := range errs {
		got = append(got, strings.TrimPrefix(err.Error(), "facts in "+d.factsPath("")))
	}
	wantErrs := []string{
		"/copied are not used: they are of another child, \"good\"",
		"/empty are not used: not written to the end",
		"/flipped are not used: wrong checksum",
		"/foreign are not used: they are of another boot",
		"/newer are not used: version 3, this kita reads 1 and 2",
		"/torn are not used: not written to the end",
	}
	if !reflect.DeepEqual(got, wantErrs) {
		t.Errorf("errors %q", got)
	}
	if left := d.files(t); !reflect.DeepEqual(left, []string{"good", "other", tableName}) {
		t.Errorf("left: %v", left)
	}
	mustClose(t, s)
	s = d.open(t, "2")
	if facts, errs := s.Facts(); !reflect.DeepEqual(facts, want) || errs != nil {
		t.Errorf("the next server reads %v, %v", facts, errs)
	}
	mustSave(t, s, "good", `1`)
	mustSave(t, s, "other", `2`)
	if left := d.files(t); !reflect.DeepEqual(left, []string{tableName}) {
		t.Errorf("left after a change: %v", left)
	}
}

// files are the names of what is kept of the children.
func (d *dirs) files(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(d.factsPath(""))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// An older version reads these files alone, when it comes back.
func TestOldFileStaysUntilFactsChange(t *testing.T) {
	d := newDirs(t)
	mustClose(t, d.open(t, "1"))
	long := strings.Repeat("l", 200) + strings.Repeat("/", 20)
	for _, name := range []string{"job", "web", "gone", long} {
		d.oldFile(t, "1", name, `"<old>"`)
	}
	all := []string{"gone", "job", "web", fileName(long), tableName}
	slices.Sort(all)
	var s *Store
	for range 2 {
		s = d.open(t, "1")
		facts, errs := s.Facts()
		if len(facts) != 4 || string(facts[long].Data) != `"<old>"` || errs != nil {
			t.Fatalf("facts %v, %v", facts, errs)
		}
		for name := range facts {
			mustSave(t, s, name, `"<old>"`)
		}
		if left := d.files(t); !reflect.DeepEqual(left, all) {
			t.Fatalf("left: %v", left)
		}
		mustClose(t, s)
	}
	s = d.open(t, "1")
	if _, errs := s.Facts(); errs != nil {
		t.Fatal(errs)
	}
	mustSave(t, s, "web", `"new"`)
	if err := s.RemoveFacts("gone"); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, long, `"new"`)
	if left := d.files(t); !reflect.DeepEqual(left, []string{"job", tableName}) {
		t.Errorf("left after changes: %v", left)
	}
	mustClose(t, s)
	if got, errs := d.read(t, "1"); errs != nil ||
		!reflect.DeepEqual(got, map[string]string{"job": `"<old>"`, "web": `"new"`, long: `"new"`}) {
		t.Errorf("read %v, %v", got, errs)
	}
	if err := os.Remove(d.factsPath(tableName)); err != nil {
		t.Fatal(err)
	}
	if got, errs := d.read(t, "1"); !reflect.DeepEqual(got, map[string]string{"job": `"<old>"`}) || errs != nil {
		t.Errorf("without the table: %v, %v", got, errs)
	}
}

func TestUnchangedFactsAreNotWritten(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	mustSave(t, s, "web", `{"a":1}`)
	content := func() string {
		data, err := os.ReadFile(d.factsPath(tableName))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first := content()
	mustSave(t, s, "web", `{"a":1}`)
	if content() != first {
		t.Error("written although nothing changed")
	}
	mustClose(t, s)

	s = d.open(t, "1")
	if _, errs := s.Facts(); errs != nil {
		t.Fatal(errs)
	}
	mustSave(t, s, "web", `{"a":1}`)
	if content() != first {
		t.Error("written by the next server although nothing changed")
	}
	mustSave(t, s, "web", `{"a":2}`)
	if content() == first {
		t.Error("a change was not written")
	}
}

func TestFactsOfAnotherBootAreNotSaved(t *testing.T) {
	s := newDirs(t).open(t, "1")
	if err := s.SaveFacts("web", Facts{Boot: "0", Data: []byte(`1`)}); err == nil {
		t.Error("saved")
	}
	if err := s.SaveFacts("web", Facts{Boot: "1", Data: []byte(`not json`)}); err == nil {
		t.Error("saved what cannot be read")
	}
}

func TestFactsAreSavedThoughRunDirectoryWasEmptied(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	if err := os.RemoveAll(filepath.Join(d.run, "children")); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, "web", `1`)
	if facts, errs := s.Facts(); len(facts) != 1 || errs != nil {
		t.Errorf("facts %v, %v", facts, errs)
	}
}

func TestConcurrentFacts(t *testing.T) {
	s := newDirs(t).open(t, "1")
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		for _, data := range []string{`1`, `2`} {
			wg.Go(func() {
				for range 20 {
					mustSave(t, s, name, data)
				}
				if err := s.RemoveFacts(name); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if _, errs := s.Facts(); errs != nil {
		t.Errorf("torn by each other: %v", errs)
	}
}

func oddNames() []string {
	return []string{
		"web", "Web", "", ".", "..", "...", ".hidden", "a/b", "../up", "%", "%2F", "/", "~", "~a", "a~", "a b", "a\nb", "\x00",
		"\xff", "\xfe", "%FF", "ü", "\u202e", "日本", strings.Repeat("日", 66), strings.Repeat("%", 200), strings.Repeat("%", 199) + "a",
		strings.Repeat("a", 200),
	}
}

func TestFileNamesAreSafeAndDifferent(t *testing.T) {
	owner := map[string]string{}
	for _, name := range oddNames() {
		file := fileName(name)
		if file == "" || file[0] == '.' || len(file) > 255 || strings.ContainsAny(file, "/\x00\n") {
			t.Errorf("%q has file %q", name, file)
		}
		if other, taken := owner[file]; taken {
			t.Errorf("%q and %q share %q", name, other, file)
		}
		owner[file] = name
	}
}

func FuzzEscape(f *testing.F) {
	for _, name := range oddNames() {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if back, ok := unescape(escape(name)); !ok || back != name {
			t.Errorf("%q became %q", name, back)
		}
		if file := fileName(name); file == "" || file[0] == '.' || len(file) > 255 || strings.ContainsAny(file, "/\x00") {
			t.Errorf("%q has file %q", name, file)
		}
	})
}
