package pump

import (
	"path/filepath"
	"testing"

	"kita/spec"
)

func TestWhatAProcessWritesIsInTheFile(t *testing.T) {
	dir := t.TempDir()
	c := testClient(t, dir)
	path := filepath.Join(dir, "web.log")
	k := keyOf("web")
	cmd := start(t, c, k, Stream{Dest: destination(t, path), Format: spec.Text, Prefix: true}, "echo one; echo two; printf three")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream ends", func() bool { _, is := c.Stats()[k]; return !is })
	if got, want := content(t, path), "web out: one\nweb out: two\nweb out: three\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
