package packaging

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newDebian is a Debian as debootstrap makes it, of the suite and from the mirror of this
// machine's own, with systemd's programs and none of the stand-ins. It is in memory and
// in namespaces of its own, so that nothing is left of it, also where the test is killed.
func newDebian(t *testing.T) *machine {
	t.Helper()
	if os.Getenv("KITA_DIST") == "" {
		t.Skip("make snapshot does this: it takes a Debian from a mirror")
	}
	if os.Geteuid() != 0 {
		t.Skip("installing packages needs root")
	}
	needs(t, "debootstrap")
	from := aptSource(t)
	dir := t.TempDir()
	m := &machine{root: dir}
	m.boot(t, `mount -t tmpfs -o mode=755,size=700m debian "$1"`)
	m.root = fmt.Sprintf("/proc/%d/root%s", m.first, dir)
	// In the mounts and with the processes of the machine, but with the network of this one.
	args := []string{"-t", fmt.Sprint(m.first), "-m", "-p", "debootstrap", "--variant=minbase", "--include=systemd"}
	if from.keyring != "" {
		args = append(args, "--keyring="+from.keyring)
	}
	sayWithin(t, 8*time.Minute, "", "nsenter", append(args, from.suite, dir, from.mirror)...)
	m.run(t, "sh", "-c", mountSystem, "sh", m.root)
	return m
}

// source is where a Debian comes from.
type source struct{ suite, mirror, keyring string }

// aptSource is what apt has for the release that runs here.
func aptSource(t *testing.T) source {
	t.Helper()
	needs(t, "apt-get")
	suite := strings.TrimSpace(say(t, "sh", "-c", `. /etc/os-release && echo "$VERSION_CODENAME"`))
	out := say(t, "apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI) $(SIGNED_BY)", "Created-By: Packages")
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != suite || words[1] != "main" {
			continue
		}
		from := source{suite: suite, mirror: words[2]}
		if len(words) == 4 && filepath.IsAbs(words[3]) {
			from.keyring = words[3]
		}
		return from
	}
	t.Fatalf("apt has no source of %s main:\n%s", suite, out)
	return source{}
}

// inside runs a program of the machine in its root directory.
func (m *machine) inside(t *testing.T, args ...string) string {
	t.Helper()
	return m.run(t, "chroot", append([]string{m.root}, args...)...)
}

// all are the files of a Debian with their modes and owners, but for those that the
// package manager and systemctl write for themselves.
func (m *machine) all(t *testing.T) []string {
	t.Helper()
	out := m.inside(t, "find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/dev", "-o", "-path", "/tmp", "-o", "-path", "/var/lib/dpkg",
		"-o", "-path", "/run/systemd/systemd-units-load", ")", "-prune", "-o", "-printf", `%p %M %u:%g\n`)
	return slices.Sorted(strings.Lines(out))
}

// enabled is what systemctl says of the units, without a systemd that runs.
func (m *machine) enabled(t *testing.T) string {
	t.Helper()
	// Its status tells whether any is enabled.
	out := m.inside(t, "sh", "-c", "systemctl is-enabled kita.service kita.socket || :")
	return strings.Join(strings.Fields(out), " ")
}

func TestDebInADebian(t *testing.T) {
	d := newDebian(t)
	old, newer := build(t)
	d.copy(t, old.deb(t), "tmp/old.deb", 0o644)
	d.copy(t, newer.deb(t), "tmp/newer.deb", 0o644)
	bare, users := d.all(t), d.read(t, "etc/passwd")+d.read(t, "etc/group")

	d.dpkg(t, "-i", "/tmp/old.deb")
	d.checkDebian(t, old)
	if now := d.read(t, "etc/passwd") + d.read(t, "etc/group"); now != users {
		t.Errorf("the package made users: there were\n%s\nand are\n%s", users, now)
	}
	d.checkUnits(t)

	// What an administrator does.
	mine := d.read(t, "etc/kita/server.yml") + "# mine\n"
	d.write(t, "etc/kita/server.yml", mine)
	d.inside(t, "systemctl", "disable", "kita.service")
	d.inside(t, "systemctl", "enable", "kita.socket")

	d.dpkg(t, "-i", "/tmp/newer.deb")
	if got := d.enabled(t); got != "disabled enabled" {
		t.Errorf("after the upgrade the units are %s, want as they were: disabled enabled", got)
	}
	if d.read(t, "etc/kita/server.yml") != mine {
		t.Error("the upgrade overwrote server.yml")
	}
	d.checkConffile(t, mine)

	d.dpkg(t, "-r", "kita")
	if got := d.status(t); got != "deinstall ok config-files" {
		t.Errorf("after the removal the package is %q", got)
	}
	for name, want := range map[string]bool{
		"usr/bin/kita": false, "usr/lib/systemd/system/kita.service": false, "usr/share/doc/kita": false, "etc/kita/server.yml": true,
	} {
		if d.has(name) != want {
			t.Errorf("after the removal: %s is there: %t, want %t", name, !want, want)
		}
	}

	d.dpkg(t, "--force-confold", "-i", "/tmp/old.deb")
	if got := d.enabled(t); got != "disabled enabled" || d.read(t, "etc/kita/server.yml") != mine {
		t.Errorf("installed again the units are %s, want disabled enabled as before, and server.yml is\n%s", got, d.read(t, "etc/kita/server.yml"))
	}
	d.write(t, "etc/kita/children/napper.yml", napper)
	// It warns of a directory that is not empty.
	d.inside(t, "dpkg", "-P", "kita")
	if left := newIn(d.all(t), bare); len(left) != 3 || !d.has("etc/kita/children/napper.yml") {
		t.Errorf("after the purge there is, besides the child's file and its directories,\n%s", strings.Join(left, ""))
	}

	d.inside(t, "rm", "-r", "/etc/kita")
	d.dpkg(t, "-i", "/tmp/old.deb")
	if got := d.enabled(t); got != "enabled disabled" {
		t.Errorf("installed after a purge the units are %s, want enabled disabled", got)
	}
	d.dpkg(t, "-P", "kita")
	if now := d.all(t); !slices.Equal(now, bare) {
		t.Errorf("after the purge there is\n%swhat is missing is\n%s", strings.Join(newIn(now, bare), ""), strings.Join(newIn(bare, now), ""))
	}
	if d.alive(t, "kita serve") {
		t.Error("a server runs, without a systemd that would start one")
	}
}

// dpkg has Debian's own package manager do something, which has nothing to complain of.
func (m *machine) dpkg(t *testing.T, args ...string) {
	t.Helper()
	out := m.inside(t, append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "dpkg"}, args...)...)
	for _, word := range []string{"warning", "error", "cannot", "Failed", "not found", "No such"} {
		if strings.Contains(out, word) {
			t.Errorf("dpkg %s:\n%s", strings.Join(args, " "), out)
			break
		}
	}
}

// status is that of the package, empty where dpkg does not know it.
func (m *machine) status(t *testing.T) string {
	t.Helper()
	return m.inside(t, "dpkg-query", "-W", "-f", "${Status}", "kita")
}

// checkDebian sees that the package is there as it should be, in the eyes of Debian's
// programs.
func (m *machine) checkDebian(t *testing.T, r release) {
	t.Helper()
	if got := m.status(t); got != "install ok installed" {
		t.Errorf("the package is %q", got)
	}
	if out := m.inside(t, "dpkg", "--verify", "kita") + m.inside(t, "dpkg", "--audit"); out != "" {
		t.Errorf("dpkg says of it\n%s", out)
	}
	if out := m.inside(t, "sh", "-c", `find $(dpkg -L kita) -maxdepth 0 \( ! -user root -o ! -group root -o -perm /go+w ! -type l \)`); out != "" {
		t.Errorf("others than root could write to\n%s", out)
	}
	m.checkModes(t)
	if got := m.enabled(t); got != "enabled disabled" {
		t.Errorf("the units are %s, want enabled disabled", got)
	}
	m.inside(t, "kita", "validate", "/etc/kita/server.yml")
	if out := m.inside(t, "kita", "version"); !strings.HasPrefix(out, "kita "+r.version+" ") {
		t.Errorf("it says of itself %q", out)
	}
}

// checkUnits has systemd's parser judge the units where the package put them, and one
// that is wrong.
func (m *machine) checkUnits(t *testing.T) {
	t.Helper()
	const units = "/usr/lib/systemd/"
	if out := m.inside(t, "systemd-analyze", "verify", units+"system/kita.service", units+"system/kita.socket"); out != "" {
		t.Errorf("systemd says of the units\n%s", out)
	}
	if out := m.inside(t, "env", "XDG_RUNTIME_DIR=/tmp", "systemd-analyze", "--user", "verify", units+"user/kita.service"); out != "" {
		t.Errorf("systemd says of a user's unit\n%s", out)
	}
	wrong := strings.Replace(m.read(t, units+"system/kita.service"), "/usr/bin/kita", "/usr/bin/nothing", 1)
	m.write(t, "tmp/wrong.service", wrong)
	if out := m.inside(t, "sh", "-c", "systemd-analyze verify /tmp/wrong.service 2>&1 || :"); !strings.Contains(out, "/usr/bin/nothing is not executable") {
		t.Errorf("systemd says of a unit that is wrong\n%s", out)
	}
}

// checkConffile upgrades to a package that brings another server.yml: that of the
// administrator stays, and the other lies beside it.
func (m *machine) checkConffile(t *testing.T, mine string) {
	t.Helper()
	m.inside(t, "sh", "-e", "-c", `
		dpkg-deb -R /tmp/newer.deb /tmp/other
		echo '# theirs' >>/tmp/other/etc/kita/server.yml
		sed -i 's/^Version: .*/Version: 1000.0.0/' /tmp/other/DEBIAN/control
		dpkg-deb -b /tmp/other /tmp/other.deb
		rm -r /tmp/other`)
	m.dpkg(t, "--force-confold", "-i", "/tmp/other.deb")
	if got := m.read(t, "etc/kita/server.yml"); got != mine {
		t.Errorf("the upgrade to another server.yml left\n%s", got)
	}
	if got := m.read(t, "etc/kita/server.yml.dpkg-dist"); !strings.HasSuffix(got, "# theirs\n") {
		t.Errorf("the new server.yml is not beside it but\n%s", got)
	}
}

// newIn are the lines of one list that the other has not.
func newIn(now, before []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(line string) bool { return slices.Contains(before, line) })
}
