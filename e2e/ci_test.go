package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

// TestDeployingFromCI runs the script of examples/ci against two servers: what is
// new is started, what has not changed is left alone, a child that fails stops the
// deployment before the second host, and an illegal file is not even copied.
func TestDeployingFromCI(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("there is no rsync")
	}
	one, two := newServer(t, "", nil), newServer(t, "output_dir: logs\n", nil)
	repository := t.TempDir()
	children := filepath.Join(repository, "children")
	if err := os.Mkdir(children, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(children, name+".yml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(mode string) (status int, out, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(world.module, "examples", "ci", "deploy.sh"), mode, "children")
		cmd.Dir = repository
		cmd.Env = []string{
			"PATH=" + world.bin + ":" + os.Getenv("PATH"), "HOME=" + repository,
			"HOSTS=" + one.addr + "," + two.addr,
			"DESTINATIONS=" + one.path("children") + "/ " + two.path("children") + "/",
			"WAIT=stable=1500ms", "TIMEOUT=60s",
		}
		var o, e strings.Builder
		cmd.Stdout, cmd.Stderr = &o, &e
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), o.String(), e.String()
	}
	holds := func(what string, text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: nothing of %q in\n%s", what, want, text)
			}
		}
	}

	write("web", "command: sleep 1000\nenv: {PORT: 80, TOKEN: hunter2}\n")
	write("db", "command: sleep 1000\n")
	if status, _, stderr := run("validate"); status != 0 {
		t.Fatalf("validate: status %d, %s", status, stderr)
	}
	status, out, stderr := run("deploy")
	if status != 0 {
		t.Fatalf("the first time: status %d\n%s%s", status, out, stderr)
	}
	holds("the first time", out, one.addr+":33889: web: new, starts with sleep 1000", two.addr+":33889: all children started anew: stable=1.5s")
	var pids [2]int
	for i, in := range []*instance{one, two} {
		pids[i] = runningPID(t, in)
	}

	status, out, stderr = run("deploy")
	if status != 0 || stderr != "" {
		t.Errorf("nothing changed: status %d\n%s%s", status, out, stderr)
	}
	holds("nothing changed", out, one.addr+":33889: no differences", one.addr+":33889: all children unchanged", two.addr+":33889: all children unchanged")

	write("web", "command: sleep 1000\nenv: {PORT: 81, TOKEN: hunter3}\n")
	status, out, stderr = run("deploy")
	if status != 0 {
		t.Errorf("web changed: status %d\n%s", status, stderr)
	}
	holds("web changed", out, "80 → 81", "*** → *** (another value)", "started anew: web; 1 unchanged: stable=1.5s")
	if strings.Contains(out, "hunter") {
		t.Errorf("a secret is shown:\n%s", out)
	}
	for i, in := range []*instance{one, two} {
		if pid := runningPID(t, in); pid == pids[i] {
			t.Errorf("host %d has the old web", i+1)
		} else {
			pids[i] = pid
		}
	}

	// What was stopped for maintenance stays so, and a job that is done is not run again.
	write("job", "command: sh -c 'exit 0'\n")
	if _, err := two.client().Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: "db"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"started anew: job; 1 unchanged; left stopped: db: stable=1.5s", "all children unchanged; left stopped: db: stable=1.5s"} {
		status, out, stderr = run("deploy")
		if status != 0 {
			t.Errorf("db is stopped: status %d\n%s%s", status, out, stderr)
		}
		holds("db is stopped", out, two.addr+":33889: "+want)
	}
	if v := two.mustAwait(t, "job", func(spec.View) bool { return true }); v.Status.Starts != 1 {
		t.Errorf("the job ran %d times", v.Status.Starts)
	}

	// It starts, and does not live long enough.
	write("web", "command: sh -c 'echo no database >&2; exit 3'\noutput: [{stderr: web.err}]\n")
	status, out, stderr = run("deploy")
	if status != 6 {
		t.Errorf("web fails: status %d\n%s", status, out)
	}
	holds("web fails", stderr, one.addr+":33889: web was started, and has ended since: exit 3", "no database", two.addr+":33889: not asked, because")
	if pid := runningPID(t, two); pid != pids[1] {
		t.Error("the second host was changed after the first had failed")
	}

	write("web", "comand: sleep 1000\n")
	status, _, stderr = run("deploy")
	if status != 1 {
		t.Errorf("an illegal file: status %d", status)
	}
	holds("an illegal file", stderr, "web.yml:1: comand: unknown key")
	if v := one.mustAwait(t, "web", func(spec.View) bool { return true }); v.FileError != "" {
		t.Errorf("the illegal file was copied: %s", v.FileError)
	}
}
