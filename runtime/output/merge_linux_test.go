package output

import (
	"os"
	"path/filepath"
	"testing"

	"kita/spec"
)

// TestFileIsOneHoweverItsPathIsSpelled: nothing that was written is missed, and
// nothing is freed that is in no archive, also by the next server.
func TestFileIsOneHoweverItsPathIsSpelled(t *testing.T) {
	for _, tt := range []struct {
		name string
		// second makes the second path, of the file that is at logs/web.log.
		second func(t *testing.T, dir string) string
	}{
		{"by a link to its directory", func(t *testing.T, dir string) string {
			if err := os.Symlink("logs", dir+"/alias"); err != nil {
				t.Fatal(err)
			}
			return dir + "/alias/web.log"
		}},
		{"with a link where the directory was", func(t *testing.T, dir string) string {
			if err := os.Rename(dir+"/logs", dir+"/moved"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("moved", dir+"/logs"); err != nil {
				t.Fatal(err)
			}
			return dir + "/logs/web.log"
		}},
		{"by another name", func(t *testing.T, dir string) string {
			if err := os.Rename(dir+"/logs/web.log", dir+"/logs/other.log"); err != nil {
				t.Fatal(err)
			}
			return dir + "/logs/other.log"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, dir string) {
				if err := os.Mkdir(dir+"/logs", 0o755); err != nil {
					t.Fatal(err)
				}
				state := t.TempDir()
				withState := func(o *Options) { o.StateDir = state }
				m, _ := newManager(t, withState)
				first := filepath.Join(dir, "logs", "web.log")
				text := lines(0, 700)
				f := writeBy(t, m, first, text)
				if err := f.keepSmall(t.Context(), at); err != nil {
					t.Fatal(err)
				}
				second := tt.second(t, dir)
				f = writeBy(t, m, second, lines(700, 1500))
				if got := content(t, f); got != text+lines(700, 1500) {
					t.Fatalf("%d bytes, they differ from byte %d on", len(got), differ(got, text+lines(700, 1500)))
				}
				if err := f.keepSmall(t.Context(), at); err != nil {
					t.Fatal(err)
				}
				m.Close()
				m, _ = newManager(t, withState)
				f = writeBy(t, m, second, "")
				if got := content(t, f); got != text+lines(700, 1500) {
					t.Errorf("with a new server %d bytes, they differ from byte %d on", len(got), differ(got, text+lines(700, 1500)))
				}
				known := 0
				for _, f := range m.all() {
					if f.isArchived() {
						known++
					}
				}
				if known != 1 {
					t.Errorf("%d files have archives", known)
				}
			})
		})
	}
}

// TestFileThatTakesThePlaceOfOneWithMoreGoesOn: at its path more was rotated once
// than of it, which tells nothing of where its own head is.
func TestFileThatTakesThePlaceOfOneWithMoreGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		m, _ := newManager(t, nil)
		a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
		var heads []string
		for _, file := range []struct{ path, text string }{{a, lines(0, 3000)}, {b, lines(3000, 3700)}} {
			f := writeBy(t, m, file.path, file.text)
			if err := f.keepSmall(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			heads = append(heads, file.text[:f.record().Head])
		}
		for _, move := range [][2]string{{a, dir + "/a.old"}, {b, a}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
		f := writeBy(t, m, a, lines(3700, 4000))
		want := heads[0] + lines(3000, 4000)[len(heads[1]):]
		for _, when := range []string{"at once", "after a rotation"} {
			r, err := f.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := drain(r)
			r.Close()
			if err != nil || got != want {
				t.Errorf("%s: %d bytes, %v; want %d, they differ from byte %d on", when, len(got), err, len(want), differ(got, want))
			}
			if err := f.keepSmall(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// writeBy has a launch append to the file at a path, which is then rotated.
func writeBy(t *testing.T, m *Manager, path, text string) *File {
	t.Helper()
	p, err := m.Prepare(childTo(path, spec.Append, rules()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	w := os.NewFile(uintptr(dup(t, p.FD(spec.Out))), path)
	defer w.Close()
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	f := p.pinned[0].file
	f.configure(rules())
	return f
}
