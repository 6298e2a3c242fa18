package packaging

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tags of the sources that releases are built of: one, and one that is newer, also
// than those of the repository. A snapshot is of the version after the tag.
const (
	first  = "v0.7.0"
	second = "v999.0.0"
)

// epoch is the time of the commit that the releases are of.
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

// build makes the releases, or takes the first from KITA_DIST, where the whole of
// goreleaser built it.
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
	tool := filepath.Join(built.scratch, "goreleaser")
	if out, err := exec.Command("go", "build", "-C", "goreleaser", "-o", tool, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build goreleaser: %w\n%s", err, out)
	}
	there := filepath.Join(built.scratch, "there", "and", "deeper")
	if err := checkOut(there); err != nil {
		return err
	}
	if dir := os.Getenv("KITA_DIST"); dir != "" {
		if built.release, err = releaseIn(dir); err != nil {
			return err
		}
	} else {
		here := filepath.Join(built.scratch, "here")
		if err := checkOut(here); err != nil {
			return err
		}
		if built.release, err = snapshot(tool, here, "first", first); err != nil {
			return err
		}
		if built.again, err = snapshot(tool, there, "again", first, "TARGET=linux_amd64"); err != nil {
			return err
		}
	}
	built.newer, err = snapshot(tool, there, "newer", second, "TARGET=linux_"+runtime.GOARCH)
	return err
}

// snapshot has goreleaser build a version from the sources in a directory, for all
// systems or one, and puts it aside.
func snapshot(tool, sources, name, tag string, target ...string) (release, error) {
	if err := gitIn(sources, "tag", tag); err != nil {
		return release{}, err
	}
	cmd := exec.Command(tool)
	if len(target) > 0 {
		cmd.Args = append(cmd.Args, "-single-target")
	}
	cmd.Dir, cmd.Env = sources, append(withoutGit(), target...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return release{}, fmt.Errorf("release of %s: %w\n%s", tag, err, out)
	}
	dir := filepath.Join(built.scratch, name)
	if err := os.Rename(filepath.Join(sources, "dist"), dir); err != nil {
		return release{}, err
	}
	return releaseIn(dir)
}

// checkOut makes a repository of the sources as they are now, with one commit. It is the
// same commit wherever it is made. goreleaser ignores git where there is no remote one,
// and does not ask that.
func checkOut(dir string) error {
	if err := copySources("..", dir); err != nil {
		return err
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"remote", "add", "origin", "https://localhost/kita.git"}, {"add", "--all"}, {"commit", "-q", "-m", "all of it"}} {
		if err := gitIn(dir, args...); err != nil {
			return err
		}
	}
	return nil
}

// gitIn runs git in a directory, for somebody who is nobody here.
func gitIn(dir string, args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, append(withoutGit(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=kita", "GIT_AUTHOR_EMAIL=kita@localhost", "GIT_AUTHOR_DATE="+epoch+" +0000",
		"GIT_COMMITTER_NAME=kita", "GIT_COMMITTER_EMAIL=kita@localhost", "GIT_COMMITTER_DATE="+epoch+" +0000")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// withoutGit is the environment but for what says which repository is meant, as in a hook
// of git's: those of the tests are where they run.
func withoutGit() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
}

// releaseIn is the release in a directory.
func releaseIn(dir string) (release, error) {
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
		case name == ".git" && !entry.IsDir():
			// A worktree's leads back to the repository.
			return nil
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
	return sayWithin(t, 2*time.Minute, dir, name, args...)
}

func sayWithin(t *testing.T, limit time.Duration, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
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
