package packaging

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// napper is a child's file of the test, in words that no other process has.
const napper = "command: [/bin/sh, -c, \"while true; do sleep 1; done # the napper\"]\n"

func TestDebIsInstalledUpgradedRemovedAndPurged(t *testing.T) {
	old, newer := build(t)
	m := newMachine(t)
	dpkg := func(args ...string) { m.run(t, "dpkg", append([]string{"--root=" + m.root}, args...)...) }

	dpkg("-i", old.deb(t))
	m.await(t)
	m.checkInstalled(t, old)
	if out := m.mustKita(t, "check", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("children run that nobody asked for: %s", out)
	}
	before := m.startNapper(t)
	m.write(t, "etc/kita/server.yml", m.read(t, "etc/kita/server.yml")+"# mine\n")
	m.enableSocket(t)

	dpkg("-i", newer.deb(t))
	m.checkUpgraded(t, newer, before)
	if !m.has(socketActive) {
		t.Error("the upgrade stopped kita.socket")
	}

	dpkg("-r", "kita")
	m.checkEnded(t)
	for name, want := range map[string]bool{
		"usr/bin/kita": false, "usr/lib/systemd/system/kita.service": false, "usr/share/bash-completion/completions/kita": false,
		"etc/kita/server.yml": true, "etc/kita/children/napper.yml": true, "var/lib/kita/journal": true,
		socketActive: false, socketWanted: true,
	} {
		if m.has(name) != want {
			t.Errorf("after the removal: %s is there: %t, want %t", name, !want, want)
		}
	}

	dpkg("-i", newer.deb(t))
	m.await(t)
	dpkg("-r", "kita")
	m.checkEnded(t)
	dpkg("-P", "kita")
	if got, want := m.added(t), []string{"etc/kita", "etc/kita/children", "etc/kita/children/napper.yml"}; !slices.Equal(got, want) {
		t.Errorf("after the purge there are %v, want only what the user wrote: %v", got, want)
	}
	if err := os.Remove(filepath.Join(m.root, "etc/kita/children/napper.yml")); err != nil {
		t.Fatal(err)
	}
	dpkg("-i", old.deb(t))
	m.await(t)
	dpkg("-P", "kita")
	m.checkEnded(t)
	if left := m.added(t); len(left) > 0 {
		t.Errorf("after the purge there are %v", left)
	}
}

// TestDebWithoutSystemd installs into a root directory where no systemd runs, as who
// builds an image does: nothing is started.
func TestDebWithoutSystemd(t *testing.T) {
	old, newer := build(t)
	m := newMachine(t)
	if err := os.Remove(filepath.Join(m.root, "run/systemd/system")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-i", old.deb(t)}, {"-i", newer.deb(t)}, {"-r", "kita"}, {"-P", "kita"}} {
		m.run(t, "dpkg", append([]string{"--root=" + m.root}, args...)...)
		if m.alive(t, "kita serve") {
			t.Errorf("dpkg %v: a server runs", args)
		}
		for line := range strings.Lines(m.read(t, "systemctl.log")) {
			if !strings.HasPrefix(line, "deb-systemd-helper ") {
				t.Errorf("dpkg %v: %s", args, line)
			}
		}
	}
}

func TestRPMIsInstalledUpgradedAndRemoved(t *testing.T) {
	old, newer := build(t)
	m := newMachine(t)
	rpm := func(args ...string) {
		m.run(t, "rpm", append([]string{"--root=" + m.root, "--dbpath=/var/lib/rpm", "--nodeps"}, args...)...)
	}
	if out := say(t, "rpm", "--checksig", "--nosignature", old.rpm(t)); !strings.Contains(out, "OK") {
		t.Errorf("rpm says of its digests %s", out)
	}

	rpm("-i", old.rpm(t))
	if m.alive(t, "kita serve") {
		t.Error("an rpm that is installed has started a server")
	}
	m.systemctl(t, "start", "kita.service")
	m.await(t)
	m.checkInstalled(t, old)
	before := m.startNapper(t)
	m.write(t, "etc/kita/server.yml", m.read(t, "etc/kita/server.yml")+"# mine\n")
	m.enableSocket(t)

	rpm("-U", newer.rpm(t))
	m.checkUpgraded(t, newer, before)

	rpm("-e", "kita")
	m.checkEnded(t)
	if m.has("usr/bin/kita") || m.has("usr/share/zsh/site-functions/_kita") || m.has("etc/systemd") || m.has(socketActive) {
		t.Errorf("after the removal there are %v", m.added(t))
	}
	if !m.has("etc/kita/children/napper.yml") || !m.has("etc/kita/server.yml.rpmsave") || !m.has("var/lib/kita/journal") {
		t.Errorf("the removal took what the user wrote: there are %v", m.added(t))
	}
}

// who is one run of a child.
type who struct{ pid, incarnation int }

// startNapper adds a child's file, and waits until the server knows it.
func (m *machine) startNapper(t *testing.T) who {
	t.Helper()
	m.write(t, "etc/kita/children/napper.yml", napper)
	m.mustKita(t, "start", "napper")
	pid, incarnation := m.child(t, "napper")
	return who{pid, incarnation}
}

func (m *machine) checkInstalled(t *testing.T, r release) {
	t.Helper()
	if got := m.serverVersion(t); got != r.version {
		t.Errorf("the server is version %s, want %s", got, r.version)
	}
	m.checkModes(t)
	if unit := m.read(t, "usr/lib/systemd/system/kita.service"); !strings.Contains(unit, "ExecStart=/usr/bin/kita serve /etc/kita/server.yml") || strings.Contains(unit, "/usr/local") {
		t.Errorf("the unit is\n%s", unit)
	}
	if !m.has("etc/systemd/system/multi-user.target.wants/kita.service") {
		t.Error("the unit is not enabled")
	}
	m.mustKita(t, "validate", "/etc/kita/server.yml")
}

// checkModes sees that what is installed is what it should be.
func (m *machine) checkModes(t *testing.T) {
	t.Helper()
	for name, want := range map[string]fs.FileMode{
		"usr/bin/kita": 0o755, "etc/kita/server.yml": 0o644, "etc/kita/keys": fs.ModeDir | 0o700, "etc/kita/children": fs.ModeDir | 0o755,
		"var/lib/kita": fs.ModeDir | 0o700, "usr/share/bash-completion/completions/kita": 0o644, "usr/share/fish/vendor_completions.d/kita.fish": 0o644,
		"usr/share/doc/kita/README.md": 0o644, "usr/lib/systemd/system/kita.service": 0o644,
		"usr/lib/systemd/system/kita.socket": 0o644, "usr/lib/systemd/user/kita.service": 0o644, "usr/share/man/man1/kita-restart.1.gz": 0o644,
		"usr/share/man/man5/kita-server.yml.5.gz": 0o644, "usr/share/kita/schema/child.json": 0o644,
	} {
		stat, err := os.Stat(filepath.Join(m.root, name))
		if err != nil {
			t.Error(err)
		} else if stat.Mode() != want {
			t.Errorf("%s has the mode %v, want %v", name, stat.Mode(), want)
		}
	}
}

// checkUpgraded sees that the new version serves, and the child lives on.
func (m *machine) checkUpgraded(t *testing.T, r release, before who) {
	t.Helper()
	if got := m.serverVersion(t); got != r.version {
		t.Errorf("after the upgrade the server is version %s, want %s\n%s", got, r.version, m.read(t, "kita.log"))
	}
	if pid, incarnation := m.child(t, "napper"); (who{pid, incarnation}) != before {
		t.Errorf("the child was %+v and is PID %d, incarnation %d", before, pid, incarnation)
	}
	if !m.alive(t, "the napper") {
		t.Error("the child does not live")
	}
	if !strings.HasSuffix(m.read(t, "etc/kita/server.yml"), "# mine\n") {
		t.Error("the upgrade overwrote server.yml")
	}
}

// checkEnded sees that neither the server nor a child is left.
func (m *machine) checkEnded(t *testing.T) {
	t.Helper()
	for _, words := range []string{"the napper", "kita serve"} {
		if m.alive(t, words) {
			t.Errorf("%s runs still\n%s", words, m.read(t, "kita.log"))
		}
	}
}

// What tells that the socket's unit is active, and that it is enabled.
const (
	socketActive = "run/kita-socket.active"
	socketWanted = "etc/systemd/system/sockets.target.wants/kita.socket"
)

// enableSocket does what the book tells to do for kita.socket.
func (m *machine) enableSocket(t *testing.T) {
	t.Helper()
	m.systemctl(t, "enable", "kita.socket")
	m.systemctl(t, "start", "kita.socket")
	if !m.has(socketActive) || !m.has(socketWanted) {
		t.Fatal("kita.socket is not enabled")
	}
}

// systemctl asks the stand-in.
func (m *machine) systemctl(t *testing.T, args ...string) {
	t.Helper()
	m.run(t, "chroot", append([]string{m.root, "/usr/bin/systemctl"}, args...)...)
}
