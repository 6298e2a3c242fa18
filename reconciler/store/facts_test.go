package store

import (
	"os"
	"path/filepath"
	"reflect"
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

func TestFactsThatCannotBeUsedAreRemovedAndReported(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	mustSave(t, s, "foreign", `1`)
	mustClose(t, s)
	s = d.open(t, "2")
	for _, name := range []string{"good", "torn", "flipped", "other"} {
		mustSave(t, s, name, `"data"`)
	}
	newer, err := encodeLine(factsRecord{Version: 2, Name: "newer", Boot: "2"})
	if err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(d.run, "children", name) }
	read := func(name string) []byte {
		content, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	for name, content := range map[string][]byte{
		"torn":              read("torn")[:30],
		"flipped":           []byte(strings.Replace(string(read("flipped")), "data", "dada", 1)),
		"copied":            read("other"),
		"newer":             newer,
		"empty":             nil,
		tempPrefix + "1234": []byte("half"),
	} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	facts, errs := s.Facts()
	want := Facts{Boot: "2", Data: []byte(`"data"`)}
	if !reflect.DeepEqual(facts, map[string]Facts{"good": want, "other": want}) {
		t.Errorf("facts %v", facts)
	}
	var got []string
	for _, err := range errs {
		got = append(got, strings.TrimPrefix(err.Error(), "facts in "+path("")))
	}
	wantErrs := []string{
		"/copied are not used: they are of another child, \"other\"",
		"/empty are not used: not written to the end",
		"/flipped are not used: wrong checksum",
		"/foreign are not used: they are of another boot",
		"/newer are not used: version 2, this kita reads 1",
		"/torn are not used: not written to the end",
	}
	if !reflect.DeepEqual(got, wantErrs) {
		t.Errorf("errors %q", got)
	}
	if left, _ := os.ReadDir(path("")); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

func TestUnchangedFactsAreNotWritten(t *testing.T) {
	d := newDirs(t)
	s := d.open(t, "1")
	mustSave(t, s, "web", `{"a":1}`)
	inode := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(d.run, "children", "web"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := inode()
	mustSave(t, s, "web", `{"a":1}`)
	if !os.SameFile(first, inode()) {
		t.Error("written although nothing changed")
	}
	mustClose(t, s)

	s = d.open(t, "1")
	if _, errs := s.Facts(); errs != nil {
		t.Fatal(errs)
	}
	mustSave(t, s, "web", `{"a":1}`)
	if !os.SameFile(first, inode()) {
		t.Error("written by the next server although nothing changed")
	}
	mustSave(t, s, "web", `{"a":2}`)
	if os.SameFile(first, inode()) {
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
