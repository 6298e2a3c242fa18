package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// age sets back a file's mtime. Its ctime stays that of now.
func age(t *testing.T, path string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

func catalogueOf(t *testing.T, dirs ...string) *Catalogue {
	t.Helper()
	c := NewCatalogue()
	c.SetPaths(dirs, nil)
	c.Refresh()
	return c
}

func messages(problems []Problem) string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

func TestRefreshListsWhatIsAChild(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"web.yml", "db.prod.yaml", ".hidden.yml", ".yml", "notes.txt", "web.yml~", "README"} {
		write(t, filepath.Join(dir, name), "command: x\n")
	}
	if err := os.Mkdir(filepath.Join(dir, "sub.yml"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sub.yml", "deep.yml"), "command: x\n")
	c := NewCatalogue()
	c.SetPaths([]string{dir}, nil)
	changed, problems := c.Refresh()
	if want := []string{"db", "web"}; !slices.Equal(changed, want) || !slices.Equal(c.Names(), want) {
		t.Errorf("changed %v, names %v, want %v", changed, c.Names(), want)
	}
	if len(problems) != 0 {
		t.Errorf("problems: %v", problems)
	}
	web := c.Lookup("web")
	if web.Child == nil || web.Child.File != filepath.Join(dir, "web.yml") || web.Child.LoadPath != dir || web.Child.Dir != dir {
		t.Errorf("entry of web: %+v", web.Child)
	}
	if changed, _ := c.Refresh(); len(changed) != 0 {
		t.Errorf("nothing happened, but %v changed", changed)
	}
}

func TestRefreshReportsChanges(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yml")
	tests := []struct {
		name    string
		act     func()
		changed bool
		check   func(Entry) bool
	}{
		{"appears", func() { write(t, file, "command: one\n") }, true,
			func(e Entry) bool { return e.Child.Command[0] == "one" && e.Err == nil }},
		{"same size and old mtime", func() { write(t, file, "command: two\n"); age(t, file) }, true,
			func(e Entry) bool { return e.Child.Command[0] == "two" }},
		{"touched", func() { age(t, file) }, false,
			func(e Entry) bool { return e.Child.Command[0] == "two" }},
		{"comment", func() { write(t, file, "# new\ncommand: two\n") }, false,
			func(e Entry) bool { return e.Child.Command[0] == "two" }},
		{"breaks", func() { write(t, file, "comand: three\n") }, true,
			func(e Entry) bool { return e.Child.Command[0] == "two" && e.Err != nil && !e.Missing }},
		{"still broken", func() {}, false,
			func(e Entry) bool { return e.Err != nil }},
		{"replaced by a good one", func() {
			write(t, file+".new", "command: four\n")
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		}, true, func(e Entry) bool { return e.Child.Command[0] == "four" && e.Err == nil }},
		{"a second file of the name", func() { write(t, filepath.Join(dir, "web.prod.yaml"), "command: five\n") }, true,
			func(e Entry) bool {
				a, ok := errors.AsType[*AmbiguousError](e.Err)
				return ok && len(a.Files) == 2 && e.Child.Command[0] == "four"
			}},
		{"the first one goes", func() { os.Remove(file) }, true,
			func(e Entry) bool { return e.Child.Command[0] == "five" && e.Err == nil }},
		{"deleted", func() { os.Remove(filepath.Join(dir, "web.prod.yaml")) }, true,
			func(e Entry) bool {
				return e.Missing && e.Child.Command[0] == "five" && e.Err == nil && e.Files == nil
			}},
		{"comes back", func() { write(t, file, "command: six\n") }, true,
			func(e Entry) bool { return !e.Missing && e.Child.Command[0] == "six" }},
		{"is a FIFO", func() {
			os.Remove(file)
			if err := unix.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}, true, func(e Entry) bool { return e.Err != nil && strings.Contains(e.Err.Error(), "is a FIFO") }},
	}
	for _, by := range []string{"Refresh", "Fresh"} {
		c := catalogueOf(t, dir)
		for _, tt := range tests {
			t.Run(by+"/"+tt.name, func(t *testing.T) {
				tt.act()
				var changed bool
				if by == "Refresh" {
					names, _ := c.Refresh()
					changed = slices.Equal(names, []string{"web"})
				} else {
					var e Entry
					e, changed = c.Fresh("web")
					if e.differs(c.Lookup("web")) {
						t.Errorf("Fresh and Lookup differ: %+v, %+v", e, c.Lookup("web"))
					}
				}
				if changed != tt.changed {
					t.Errorf("changed %v, want %v", changed, tt.changed)
				}
				if e := c.Lookup("web"); !tt.check(e) {
					t.Errorf("entry: %+v, child %+v", e, e.Child)
				}
			})
		}
		os.Remove(file)
	}
}

func TestForgetDropsOnlyTheDeleted(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yml")
	write(t, file, "command: x\n")
	c := catalogueOf(t, dir)
	c.Forget("web")
	if e := c.Lookup("web"); e.Child == nil || e.Missing {
		t.Fatalf("forgot a child that has a file: %+v", e)
	}
	os.Remove(file)
	c.Refresh()
	if len(c.Names()) != 0 || c.Lookup("web").Child == nil {
		t.Fatalf("deleted: names %v, entry %+v", c.Names(), c.Lookup("web"))
	}
	if _, ok := c.Child("web"); ok {
		t.Error("hooks see a deleted child")
	}
	c.Forget("web")
	if e := c.Lookup("web"); e.Child != nil || !e.Missing {
		t.Errorf("not forgotten: %+v", e)
	}
	if changed, _ := c.Refresh(); len(changed) != 0 {
		t.Errorf("%v changed", changed)
	}
}

func TestLoadPathsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	good, gone, notDir := filepath.Join(dir, "good"), filepath.Join(dir, "gone"), filepath.Join(dir, "file")
	if err := os.Mkdir(good, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(good, "web.yml"), "command: x\n")
	write(t, notDir, "")
	c := NewCatalogue()
	c.SetPaths([]string{gone, good, notDir}, nil)
	_, problems := c.Refresh()
	want := []Problem{
		{Path: gone, Message: "load path " + gone + ": no such file or directory"},
		{Path: notDir, Message: "load path " + notDir + ": is not a directory"},
	}
	if !slices.Equal(problems, want) {
		t.Errorf("got  %+v\nwant %+v", problems, want)
	}
	if e := c.Lookup("web"); e.Err != nil || e.Child == nil {
		t.Errorf("child of the good path: %+v", e)
	}

	// A directory that is replaced by something unreadable deletes nobody; one
	// that is removed does.
	if err := os.Rename(good, filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	write(t, good, "")
	c.Refresh()
	if e := c.Lookup("web"); e.Missing || e.Err == nil || e.Child == nil {
		t.Errorf("directory unreadable: %+v", e)
	}
	if strings.Contains(messages(c.Problems()), "web") {
		t.Errorf("an unreadable directory makes its files illegal: %v", c.Problems())
	}
	os.Remove(good)
	if changed, _ := c.Refresh(); !slices.Equal(changed, []string{"web"}) || !c.Lookup("web").Missing {
		t.Errorf("directory removed: changed %v, %+v", changed, c.Lookup("web"))
	}
}

func TestProblemsNameEachIllegalFile(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	write(t, filepath.Join(one, "web.yml"), "command: x\nstop: {grace: 5}\nnice: 99\n")
	write(t, filepath.Join(one, "all.yml"), "command: x\n")
	write(t, filepath.Join(one, "db.yml"), "command: x\n")
	write(t, filepath.Join(two, "db.yaml"), "command: x\n")
	write(t, filepath.Join(two, "my job.yml"), "command: x\n")
	if err := os.Symlink("nowhere", filepath.Join(two, "link.yml")); err != nil {
		t.Fatal(err)
	}
	c := NewCatalogue()
	c.SetPaths([]string{one, two}, nil)
	_, problems := c.Refresh()
	want := strings.Join([]string{
		one + `/all.yml:1: name: "all" is reserved and cannot be the name of a child, rename the file`,
		`db is in more than one file: ` + one + `/db.yml, ` + two + `/db.yaml; rename or remove all but one`,
		`read ` + two + `/link.yml: no such file or directory`,
		two + `/my job.yml:1: name: the name "my job" has a ' ', which the name of a child cannot have, rename the file`,
		one + `/web.yml:2: stop.grace: "5" has no unit, write 5s`,
		one + `/web.yml:3: nice: "99" is no whole number from -20 to 19, write nice: 10`,
	}, "\n")
	if got := messages(problems); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, p := range problems {
		if !p.Illegal {
			t.Errorf("%s is a warning", p)
		}
	}
}

func TestOneDirectoryUnderTwoNamesIsNotAmbiguous(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(real, "web.yml"), "command: x\n")
	c := catalogueOf(t, real, real+"/", filepath.Join(dir, "link"))
	if e := c.Lookup("web"); e.Err != nil || e.Child == nil {
		t.Errorf("entry: %+v", e)
	}
}

func TestSetPathsTakesAndDropsDirectories(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	write(t, filepath.Join(one, "a.yml"), "command: x\n")
	write(t, filepath.Join(two, "b.yml"), "command: x\n")
	c := catalogueOf(t, one)
	c.SetPaths([]string{two}, nil)
	if e, changed := c.Fresh("b"); !changed || e.Child == nil {
		t.Errorf("Fresh does not see the new path: %+v", e)
	}
	if changed, _ := c.Refresh(); !slices.Equal(changed, []string{"a"}) || !c.Lookup("a").Missing {
		t.Errorf("changed %v, a is %+v", changed, c.Lookup("a"))
	}
	if !slices.Equal(c.Paths(), []string{two}) {
		t.Errorf("paths %v", c.Paths())
	}
}

func TestRelativeLoadPathIsRelativeToTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("kids", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "kids/web.yml", "command: x\n")
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	child := catalogueOf(t, "kids").Lookup("web").Child
	if child == nil || child.LoadPath != "kids" || child.File != "kids/web.yml" || child.Dir != filepath.Join(wd, "kids") {
		t.Errorf("child: %+v", child)
	}
}

func TestNewDefaultsChangeTheChildrenTheyTouch(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "own.yml"), "command: x\nnice: 1\n")
	write(t, filepath.Join(dir, "takes.yml"), "command: x\n")
	defaults := func(text string) *Defaults {
		s, err := ParseServer("/s.yml", []byte("defaults: "+text))
		if err != nil {
			t.Fatal(err)
		}
		return s.Defaults
	}
	c := catalogueOf(t, dir)
	c.SetPaths([]string{dir}, defaults("{nice: 5}"))
	if changed, _ := c.Refresh(); !slices.Equal(changed, []string{"takes"}) {
		t.Errorf("changed %v", changed)
	}
	before := c.Lookup("takes").Child
	c.SetPaths([]string{dir}, defaults("{nice: 5} # read again"))
	if changed, _ := c.Refresh(); len(changed) != 0 || c.Lookup("takes").Child != before {
		t.Errorf("the same defaults changed %v", changed)
	}
}

// Fresh must not miss a change because it trusts a listing or a time stamp.
func TestFreshSeesChangesWithinOneTick(t *testing.T) {
	dir := t.TempDir()
	c := catalogueOf(t, dir)
	for i := range 200 {
		name := fmt.Sprint("c", i%7)
		file := filepath.Join(dir, name+".yml")
		write(t, file, fmt.Sprintf("command: run %03d\n", i))
		if e, _ := c.Fresh(name); e.Child == nil || e.Child.Command[1] != fmt.Sprintf("%03d", i) {
			t.Fatalf("change %d not seen: %+v", i, e.Child)
		}
		if i%3 == 0 {
			os.Remove(file)
			if e, _ := c.Fresh(name); !e.Missing {
				t.Fatalf("deletion %d not seen", i)
			}
		}
	}
}

func TestFreshTrustsAnOldListing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "web.yml"), "command: x\n")
	c := catalogueOf(t, dir)
	l := c.dirs[dir]
	l.seen = time.Now().Add(time.Hour) // as if the listing were long after the last change
	l.names = append(l.names, "ghost.yml")
	c.Fresh("web")
	if !slices.Contains(l.names, "ghost.yml") {
		t.Error("the directory was listed again")
	}
	if e, _ := c.Fresh("ghost"); !e.Missing {
		t.Errorf("a file that is listed but gone: %+v", e)
	}
}

func TestCatalogueUnderConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yml")
	write(t, file, "command: x 0\n")
	c := catalogueOf(t, dir)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				switch w {
				case 0:
					c.Refresh()
				case 1:
					c.Fresh("web")
				case 2:
					c.SetPaths([]string{dir}, nil)
					os.WriteFile(file+".new", fmt.Appendf(nil, "command: x %d\n", i), 0o644)
					os.Rename(file+".new", file)
				default:
					if e := c.Lookup("web"); e.Child == nil {
						t.Error("the child is lost")
					}
					c.Names()
					c.Problems()
					c.Forget("web")
				}
			}
		})
	}
	wg.Wait()
	if e, _ := c.Fresh("web"); e.Child == nil || e.Child.Command[1] != "49" {
		t.Errorf("at last: %+v", e.Child)
	}
}

func TestTenThousandFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 10_000 {
		write(t, filepath.Join(dir, fmt.Sprintf("c%05d.yml", i)), fmt.Sprintf("command: ./run %d\nrestart: on-failure\noutput:\n  - stdout: %d.log\n", i, i))
	}
	c := NewCatalogue()
	c.SetPaths([]string{dir}, nil)
	began := time.Now()
	changed, problems := c.Refresh()
	first := time.Since(began)
	if len(changed) != 10_000 || len(problems) != 0 {
		t.Fatalf("%d changed, problems %v", len(changed), problems)
	}
	for _, f := range c.files {
		f.seen = f.seen.Add(time.Hour) // their time stamps can be trusted by now
	}
	began = time.Now()
	changed, _ = c.Refresh()
	t.Logf("first %v, again %v", first, time.Since(began))
	if len(changed) != 0 {
		t.Errorf("%d changed", len(changed))
	}
	if limit := 30 * time.Second; first > limit { // far above what it takes, for a busy machine
		t.Errorf("the first refresh took %v", first)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("ok"), "text")
	write(t, path("full"), strings.Repeat("x", MaxFileSize))
	write(t, path("large"), strings.Repeat("x", MaxFileSize+1))
	if err := unix.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("ok", path("link")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"regular", path("ok"), ""},
		{"through a link", path("link"), ""},
		{"exactly 1 MiB", path("full"), ""},
		{"too large", path("large"), "larger than 1 MiB"},
		{"FIFO", path("fifo"), "is a FIFO, not a regular file"},
		{"directory", dir, "is a directory, not a regular file"},
		{"device", "/dev/zero", "is a device, not a regular file"},
		{"absent", path("absent"), "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadFile(tt.path)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path)):
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if absent := tt.name == "absent"; errors.Is(err, fs.ErrNotExist) != absent {
				t.Errorf("errors.Is(%v, ErrNotExist) is %v", err, !absent)
			}
		})
	}
}

func TestWatchableIsWhatNoWatchMisses(t *testing.T) {
	outside, tests := t.TempDir(), []struct {
		name   string
		change func(t *testing.T, dir string)
		want   bool
	}{
		{"nothing changed", func(*testing.T, string) {}, true},
		{"a file came", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "db.yml"), "command: x\n") }, false},
	}
	write(t, filepath.Join(outside, "target"), "command: x\n")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if id, err := statID(dir); err != nil || !id.onDisk() {
				t.Skip("no disk, so nothing is taken for watched")
			}
			write(t, filepath.Join(dir, "web.yml"), "command: x\n")
			c := catalogueOf(t, dir)
			tt.change(t, dir)
			if tt.want {
				// The clock must have gone on since the directory was made.
				for !c.Watchable() && t.Context().Err() == nil {
					c.Refresh()
				}
			} else if c.Watchable() {
				t.Error("is taken for watched")
			}
		})
	}
	for name, link := range map[string]func(oldname, newname string) error{"symbolic link": os.Symlink, "hard link": os.Link} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := link(filepath.Join(outside, "target"), filepath.Join(dir, "web.yml")); err != nil {
				t.Fatal(err)
			}
			c := catalogueOf(t, dir)
			for id, err := statID(dir); err == nil && id.racy(time.Now()); id, err = statID(dir) {
				c.Refresh()
			}
			if c.Watchable() {
				t.Error("is taken for watched")
			}
		})
	}
}
