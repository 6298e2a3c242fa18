package output

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

func TestOnlyWhatIsUnderRotationIsRotatedNow(t *testing.T) {
	m, _ := newManager(t, nil)
	dir := t.TempDir()
	rotate := &spec.Rotate{Size: 1 << 20, Keep: 3, Compress: spec.NoCompression}
	out, err := filepath.Join(dir, "out.log"), filepath.Join(dir, "err.log")
	tests := []struct {
		name     string
		c        *spec.Child
		want     error
		archives []string
	}{
		{"both", childTo(out, spec.Append, rotate), nil, []string{out + ".000001"}},
		{"none", childTo(err, spec.Append, nil), ErrNotRotated, nil},
		{"one of two", &spec.Child{Stdout: &spec.Stream{Path: err}, Stderr: &spec.Stream{Path: out, Rotate: rotate}}, nil, []string{out + ".000002"}},
		{"not there yet", childTo(filepath.Join(dir, "none.log"), spec.Append, rotate), nil, nil},
		{"no file", &spec.Child{}, ErrNoFile, nil},
	}
	for _, tt := range tests {
		for _, path := range []string{out, err} {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteString("a line\n")
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		made, err := m.Rotate(t.Context(), "web", tt.c)
		var paths []string
		for _, a := range made {
			paths = append(paths, a.Path)
		}
		if !errors.Is(err, tt.want) || strings.Join(paths, " ") != strings.Join(tt.archives, " ") {
			t.Errorf("%s: %q, %v", tt.name, paths, err)
		}
	}
}

// A file that has another name by now is left to whoever gave it that.
func TestAFileThatWasMovedIsNotRotatedNow(t *testing.T) {
	m, told := newManager(t, nil)
	dir := t.TempDir()
	c := childTo(filepath.Join(dir, "web.log"), spec.Append, &spec.Rotate{Size: 1 << 20, Keep: 3, Compress: spec.NoCompression})
	r := launch(t, m, c, 1)
	r.write(t, "a line\n")
	f := theFile(t, m, c)
	awaitThat(t, "written", func() bool { _, end := f.Bounds(); return end == 7 })
	if err := os.Rename(filepath.Join(dir, "web.log"), filepath.Join(dir, "old.log")); err != nil {
		t.Fatal(err)
	}
	awaitFault(t, told, "old.log; the process goes on writing there")
	made, err := m.Rotate(t.Context(), "web", c)
	if len(made) != 0 || err == nil || !strings.Contains(err.Error(), "was moved to") {
		t.Errorf("%v, %v", made, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "old.log")); err != nil || string(text) != "a line\n" {
		t.Errorf("%q, %v", text, err)
	}
}
