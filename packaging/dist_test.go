package packaging

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The versions that are built: one, and one that is newer, also than those of
// goreleaser.
const (
	first  = "0.7.1-dev.1"
	second = "999.0.0-dev.2"
)

// epoch is the time of the commit that the releases are said to be of.
const epoch = "1750000000"

// release is what was built: a directory, and the version.
type release struct{ dir, version string }

// built has what is built once for all tests.
var built struct {
	once    sync.Once
	err     error
	scratch string
	release release
	newer   release
	// again is the first once more, from sources in another directory.
	again release
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.scratch != "" {
		os.RemoveAll(built.scratch)
	}
	os.Exit(status)
}

// build makes the releases, or takes the first from KITA_DIST, where goreleaser
// built it.
func build(t *testing.T) (old, newer release) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds releases")
	}
	built.once.Do(func() { built.err = buildAll() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.release, built.newer
}

func buildAll() error {
	var err error
	if built.scratch, err = os.MkdirTemp("", "kita-release-"); err != nil {
		return err
	}
	tool := filepath.Join(built.scratch, "release")
	if out, err := exec.Command("go", "build", "-C", "tools", "-o", tool, "./release").CombinedOutput(); err != nil {
		return fmt.Errorf("build the tool: %w\n%s", err, out)
	}
	here, there := filepath.Join(built.scratch, "here"), filepath.Join(built.scratch, "there", "and", "deeper")
	for _, to := range []string{here, there} {
		if err := copySources("..", to); err != nil {
			return err
		}
	}
	make := func(sources, dist, version string, more ...string) (release, error) {
		cmd := exec.Command(tool, append([]string{"-dist", dist, "-version", version}, more...)...)
		cmd.Dir, cmd.Env = sources, append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch, "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			return release{}, fmt.Errorf("release %s: %w\n%s", version, err, out)
		}
		return release{filepath.Join(sources, dist), version}, nil
	}
	if built.release, err = goreleasers(); err != nil {
		return err
	}
	if built.release.dir == "" {
		if built.release, err = make(here, "dist", first); err != nil {
			return err
		}
	}
	if built.again, err = make(there, "dist", built.release.version, "-only", "linux_amd64"); err != nil {
		return err
	}
	built.newer, err = make(there, "newer", second, "-only", "linux_"+runtime.GOARCH)
	return err
}

// goreleasers is the release in KITA_DIST, if there is one.
func goreleasers() (release, error) {
	dir := os.Getenv("KITA_DIST")
	if dir == "" {
		return release{}, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return release{}, err
	}
	const from, to = "kita_", "_sha256sums.txt"
	found, err := filepath.Glob(filepath.Join(dir, from+"*"+to))
	if err != nil || len(found) != 1 {
		return release{}, fmt.Errorf("%s has no list of checksums: %v, %v", dir, found, err)
	}
	return release{dir, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), from), to)}, nil
}

// copySources copies what a release is made of, as it is now.
func copySources(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && (name == ".git" || name == "bin" || name == "dist" || name == "e2e"):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		stat, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), content, stat.Mode().Perm())
	})
}

// file is the one file of the release that the pattern matches.
func (r release) file(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// deb and rpm are the packages for this machine.
func (r release) deb(t *testing.T) string { return r.file(t, "*_"+runtime.GOARCH+".deb") }

func (r release) rpm(t *testing.T) string {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	return r.file(t, "*."+arch+".rpm")
}

// say runs a command and returns what it wrote.
func say(t *testing.T, name string, args ...string) string {
	t.Helper()
	return sayIn(t, "", name, args...)
}

func sayIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// needs skips where a program is missing; .ci/deps sees to it that CI has them.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not there", program)
		}
	}
}
