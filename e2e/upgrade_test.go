package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kita/spec"
)

// buildNewVersion makes a kita that says another version than world.bin's, once.
var buildNewVersion = sync.OnceValues(func() (string, error) {
	path := filepath.Join(world.root, "new", "kita")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version=2.0.0", "-o", path, "./cmd/kita")
	cmd.Dir = world.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func newVersion(t *testing.T) string {
	t.Helper()
	path, err := buildNewVersion()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// upgrade asks for an upgrade over the unix socket.
func (in *instance) upgrade(binary string) (spec.Upgraded, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return in.client().Upgrade(ctx, binary)
}

func (in *instance) mustUpgrade(t *testing.T, binary string) spec.Upgraded {
	t.Helper()
	done, err := in.upgrade(binary)
	if err != nil {
		t.Fatalf("upgrade to %s: %v", binary, err)
	}
	return done
}

func (in *instance) info(t *testing.T) spec.Info {
	t.Helper()
	info, err := in.client().Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// addMetrics restarts the server with a listener for the metrics, and returns
// its address.
func (in *instance) addMetrics(t *testing.T) string {
	t.Helper()
	if status, err := in.signal(syscall.SIGTERM); err != nil || status != 0 {
		t.Fatalf("the server ends with %d, %v", status, err)
	}
	config, err := os.ReadFile(in.path("server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	address := in.addr + ":9100"
	if err := os.WriteFile(in.path("server.yml"), append(config, "metrics_addr: "+address+"\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := in.serve(nil, nil); err != nil {
		t.Fatal(err)
	}
	return address
}

// descriptors are what the server has open.
func descriptors(t *testing.T, pid int) []string {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
		list = append(list, e.Name()+" "+to)
	}
	return list
}

const sleeper = "command: /bin/sleep 1000\n"

// stubborn does not heed TERM; it makes the file NAME.up once that is so.
const stubborn = `
command: ["sh", "-c", "trap '' TERM; : >$KITA_CHILD.up; while :; do sleep 0.1; done"]
stop: {grace: 10s}
`

func TestUpgradeKeepsPIDsChildrenAndSurroundings(t *testing.T) {
	t.Parallel()
	// The child's limit is that of the server as it was started, whatever Go
	// raises the server's own to.
	limits := `command: ["sh", "-c", "ulimit -Sn; env; ls -l /proc/self/fd; exec sleep 1000"]` + "\noutput: [{stdout: %s.out}]\n"
	in := newServer(t, "", map[string]string{"a": sleeper, "before": fmt.Sprintf(limits, "before"), "after": fmt.Sprintf(limits, "after")})
	in.addMetrics(t)
	binary := newVersion(t)
	for _, child := range []string{"a", "before"} {
		in.do(t, spec.VerbStart, child)
	}
	old := in.info(t)
	a, err := in.client().Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	done := in.mustUpgrade(t, binary)
	if want := (spec.Upgraded{From: old.Version, To: "2.0.0", Binary: binary, PID: old.PID}); done != want {
		t.Errorf("the upgrade says %+v, want %+v", done, want)
	}
	now := in.info(t)
	if now.PID != old.PID || now.Keeper != old.Keeper || now.Version != "2.0.0" || !slices.Equal(now.Listeners, old.Listeners) || len(now.Problems) > 0 {
		t.Errorf("before %+v\nafter %+v", old, now)
	}
	kept, err := in.client().Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if kept.Status.Process == nil || kept.Status.Process.PID != a.Status.Process.PID || kept.Status.Starts != 1 || !kept.Status.Process.Adopted {
		t.Errorf("a was %s, is %s", describe(a), describe(kept))
	}
	in.do(t, spec.VerbStart, "after")
	for _, name := range []string{"before", "after"} {
		in.mustAwaitText(t, name+".out", "fd/2 ->", " 2 -> ")
	}
	before, after := in.outputOf(t, "before"), in.outputOf(t, "after")
	if before != after {
		t.Errorf("a child started before the upgrade sees\n%s\none after it\n%s", before, after)
	}

	// Nothing is left open by one upgrade after another.
	in.mustUpgrade(t, "")
	in.askEverywhere(t)
	open := descriptors(t, old.PID)
	for range 3 {
		in.mustUpgrade(t, "")
	}
	in.askEverywhere(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	// The server closes a connection after its client has.
	for timeout := time.After(10 * time.Second); ; {
		now := descriptors(t, old.PID)
		if len(now) <= len(open) {
			break
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("the descriptors\n%s\nbecame\n%s", strings.Join(open, "\n"), strings.Join(now, "\n"))
		}
	}
}

// askEverywhere returns when every listener serves.
func (in *instance) askEverywhere(t *testing.T) {
	t.Helper()
	for _, network := range []string{"tcp", "unix"} {
		if status, _, err := in.http(network, "GET", "/readyz", "", nil); err != nil || status != 200 {
			t.Fatalf("%s: readyz says %d, %v", network, status, err)
		}
	}
}

// mustAwaitText waits until a file has one of the texts.
func (in *instance) mustAwaitText(t *testing.T, name string, texts ...string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		content, _ := os.ReadFile(in.path(name))
		for _, text := range texts {
			if strings.Contains(string(content), text) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s never had %q:\n%s", name, texts, content)
		}
	}
}

// outputOf is what a child wrote of its limits, its environment and its
// descriptors, without what differs from child to child.
func (in *instance) outputOf(t *testing.T, child string) string {
	t.Helper()
	text, err := os.ReadFile(in.path(child + ".out"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); strings.Contains(line, " -> ") {
			line = strings.Join(fields[len(fields)-3:], " ")
		}
		switch {
		case strings.Contains(line, "/proc/"), strings.HasPrefix(line, "total"):
		default:
			lines = append(lines, strings.ReplaceAll(strings.TrimSpace(line), child, "CHILD"))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestCommandsThatWaitAreAnsweredByTheNewVersion(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{
		"a": stubborn, "b": stubborn, "c": stubborn,
		"d": sleeper + "hooks: [{prehook: stop c}]\n",
	})
	binary := newVersion(t)
	for _, child := range []string{"a", "b", "c"} {
		in.do(t, spec.VerbStart, child)
		if err := in.awaitFile("children/" + child + ".up"); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		what, text string
		err        error
	}
	answers := make(chan answer, 3)
	go func() {
		out, err := in.client().Do(context.Background(), spec.Command{Verb: spec.VerbStop, Child: "a"})
		answers <- answer{"stop a", out.Note, err}
	}()
	go func() {
		text, err := in.exchange([]string{"stop b\n"}, false)
		answers <- answer{"stop b", text, err}
	}()
	go func() {
		out, err := in.client().Do(context.Background(), spec.Command{Verb: spec.VerbStart, Child: "d"})
		if err == nil && out.Status.Process == nil {
			err = errors.New("it has no process")
		}
		answers <- answer{"start d", fmt.Sprint(out.Prehook), err}
	}()
	for _, child := range []string{"a", "b", "c"} {
		in.mustAwait(t, child, func(v spec.View) bool { return v.Status.Phase == spec.PhaseStopping })
	}
	if done := in.mustUpgrade(t, binary); done.To != "2.0.0" {
		t.Errorf("the upgrade says %+v", done)
	}
	in.mustUpgrade(t, "")
	for range 3 {
		got := <-answers
		want := map[string]string{"stop a": "killed", "stop b": "stop b success", "start d": "stop c"}[got.what]
		if got.err != nil || !strings.Contains(got.text, want) {
			t.Errorf("%s: %q, %v, want %q", got.what, got.text, got.err, want)
		}
	}
}

func TestSignalUpgradesToTheFileThatWasReplaced(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{"a": sleeper})
	if _, err := in.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	own := in.path("kita")
	for from, to := range map[string]string{filepath.Join(world.bin, "kita"): own, newVersion(t): own + ".new"} {
		if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := in.serve([]string{own, "serve", "server.yml"}, nil); err != nil {
		t.Fatal(err)
	}
	pid := in.info(t).PID
	if err := os.Rename(own+".new", own); err != nil {
		t.Fatal(err)
	}
	if err := in.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	in.awaitVersion(t, "2.0.0")
	if now := in.info(t); now.PID != pid {
		t.Errorf("PID %d became %d", pid, now.PID)
	}
}

func (in *instance) awaitVersion(t *testing.T, version string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); in.info(t).Version != version; {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("the version is never %s:\n%s", version, in.logTail())
		}
	}
}

// A signal that ends the server comes while it is being upgraded: it is not
// lost, whichever of the two versions it comes to.
func TestTermDuringAnUpgradeEndsTheServer(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{"a": sleeper})
	pid := in.do(t, spec.VerbStart, "a").Status.Process.PID
	for round := range 6 {
		asked := make(chan error, 1)
		go func() {
			_, err := in.upgrade("")
			asked <- err
		}()
		// Each round at another moment of it.
		<-time.After(time.Duration(round) * 8 * time.Millisecond)
		status, err := in.signal(syscall.SIGTERM)
		if err != nil || status != 0 {
			t.Fatalf("round %d: the server ends with %d, %v", round, status, err)
		}
		// Whether who asked was answered depends on the moment.
		<-asked
		if !in.isAlive(pid) {
			t.Fatalf("round %d: the child is gone", round)
		}
		if err := in.serve(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAddressesAreKeptAndInfoSaysSo(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", map[string]string{"a": sleeper})
	config, err := os.ReadFile(in.path("server.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in.path("server.yml"), append(config, "port: 33890\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	in.mustUpgrade(t, "")
	want := "listen: server.yml says " + in.addr + ":33890 by now, " + in.tcp() + " stays in use: restart the server to change it"
	if info := in.info(t); !slices.Contains(info.Problems, want) || !slices.Contains(info.Listeners, "tcp:"+in.tcp()) {
		t.Errorf("want the problem %q in %+v", want, info)
	}
	if err := os.WriteFile(in.path("server.yml"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	if info := in.info(t); len(info.Problems) > 0 {
		t.Errorf("problems once it is as before: %q", info.Problems)
	}
}
