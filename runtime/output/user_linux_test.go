package output

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestUserCannotLeadTheServerToRootsDirectory: the user of a directory on the way
// puts a link in the place of the one with the logs, which leads to root's.
func TestUserCannotLeadTheServerToRootsDirectory(t *testing.T) {
	onlyRoot(t)
	for _, tt := range []struct {
		name string
		// before and now are whom the child runs as in its first and second run.
		before, now *Owner
	}{
		{"a child of root", nil, nil},
		{"a child of the user", nobody, nobody},
		{"a child that was root's", nil, nobody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			openDir(t, dir)
			home, victim := filepath.Join(dir, "home"), filepath.Join(dir, "victim")
			logs, path := filepath.Join(home, "logs"), filepath.Join(home, "logs", "web.log")
			mustMake(t, home, nobody)
			mustMake(t, logs, nobody)
			mustMake(t, victim, nil)
			m, _ := newManager(t, nil)
			c := childTo(path, "append", rules())
			chown := func() {
				if err := os.Chown(path, int(nobody.UID), int(nobody.GID)); err != nil {
					t.Fatal(err)
				}
			}
			prepare := func(owner *Owner) *Prepared {
				p, err := m.Prepare(c, owner)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Close)
				return p
			}
			prepare(tt.before).Close()
			chown()
			p := prepare(tt.now)
			f := p.pinned[0].file
			r := rules()
			r.Keep = 1
			f.configure(r)
			if err := os.WriteFile(path, []byte(lines(0, 300)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := f.keepSmall(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			precious := filepath.Join(victim, "web.log.000001")
			err := errors.Join(os.Rename(logs, logs+".old"), os.Symlink(victim, logs), os.Lchown(logs, int(nobody.UID), int(nobody.GID)),
				os.WriteFile(precious, []byte("precious"), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			live, err := os.OpenFile(filepath.Join(logs+".old", "web.log"), os.O_RDWR|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer live.Close()
			f.holdBy(func() (int, error) { return dup(t, int(live.Fd())), nil })
			if _, err := live.WriteString(lines(300, 600)); err != nil {
				t.Fatal(err)
			}
			if err := f.keepSmall(t.Context(), at); !errors.Is(err, errUnsafe) {
				t.Errorf("rotated, %v", err)
			}
			if err := f.removeArchives(f.record().Archives); !errors.Is(err, errUnsafe) {
				t.Errorf("removed, %v", err)
			}
			entries, err := os.ReadDir(victim)
			if err != nil || len(entries) != 1 {
				t.Errorf("there are %v, %v", entries, err)
			}
		})
	}
}

func TestUserOfTheLastLaunchIsKept(t *testing.T) {
	onlyRoot(t)
	s := newStream(t, t.TempDir(), rules())
	s.write(lines(0, 300))
	s.mustKeep()
	s.setUser(nobody)
	s.write(lines(300, 600))
	s.mustKeep()
	known, err := s.shared.records.load(s.path)
	if err != nil || known.Owner == nil || *known.Owner != *nobody {
		t.Errorf("the record is %+v, %v", known, err)
	}
}
