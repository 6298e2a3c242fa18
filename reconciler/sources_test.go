package reconciler

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"
)

func TestWritesToOtherFilesAreNoise(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": plain})
	w.mustServe()
	children := filepath.Join(w.dir, "children")
	for _, tt := range []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{filepath.Join(w.dir, "kita.log"), fsnotify.Write, true},
		{filepath.Join(children, "web.log"), fsnotify.Write | fsnotify.Chmod, true},
		{filepath.Join(w.dir, "server.yml"), fsnotify.Write, false},
		{filepath.Join(children, "web.yml"), fsnotify.Write, false},
		{filepath.Join(children, "web.yaml"), fsnotify.Chmod, false},
		{filepath.Join(children, "..data"), fsnotify.Create, false},
		{children, fsnotify.Chmod, false},
		{filepath.Join(children, "web.log"), fsnotify.Rename, false},
	} {
		if got := w.isNoise(fsnotify.Event{Name: tt.name, Op: tt.op}); got != tt.want {
			t.Errorf("%s %v: %v, want %v", tt.op, tt.name, got, tt.want)
		}
	}
	// What is written to may be what a link leads to.
	server := filepath.Join(w.dir, "server.yml")
	if err := errors.Join(os.Rename(server, filepath.Join(w.dir, "real")), os.Symlink("real", server)); err != nil {
		t.Fatal(err)
	}
	if w.isNoise(fsnotify.Event{Name: filepath.Join(w.dir, "real"), Op: fsnotify.Write}) {
		t.Error("a write to what server.yml leads to is noise")
	}
	if err := os.Symlink("web.conf", filepath.Join(children, "db.yml")); err != nil {
		t.Fatal(err)
	}
	w.Refresh()
	if w.isNoise(fsnotify.Event{Name: filepath.Join(children, "web.conf"), Op: fsnotify.Write}) {
		t.Error("a write to what a link leads to is noise")
	}
}
