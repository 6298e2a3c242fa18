package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// upgrade has the server executed anew, from one version to the other and back,
// while clients hammer and children end.
func upgrade(t *testing.T, c *trial) {
	ending := 20
	if c.full {
		ending = 100
	}
	files := mixture(0, 2, 2)
	for i := range ending {
		files[fmt.Sprintf("%s-%d", briefly, i)] = "command: [" + world.workload + ", run, -brief, 200ms, -long, 3s]\n" + backOff
	}
	in := c.newInstance(t, "mode: full\n", files)
	in.serve(t)
	w := in.watch(t, c)
	h := in.hammer(t)
	server := in.awaitServer(t, 0)
	var slowest time.Duration
	for i := range c.count {
		<-time.After(c.between(0, 200*time.Millisecond))
		binary := world.newer
		if (c.count-i)%2 == 0 {
			binary = world.kita // so that the last one is the newer
		}
		begin := time.Now()
		status, body, err := in.upgrade(binary)
		if err != nil || status != 200 {
			t.Fatalf("upgrade %d: %d %s %v\n%s", i, status, body, err, in.logTail())
		}
		slowest = max(slowest, time.Since(begin))
		if now := in.server(); now != server {
			t.Fatalf("upgrade %d: the server was PID %d, is %d\n%s", i, server, now, in.logTail())
		}
		if !w.checkAfter(t, i) {
			break
		}
	}
	if c.full {
		in.keeperFollows(t, c)
	}
	h.judge(t, c)
	c.measure("slowest upgrade %d ms", slowest.Milliseconds())
	w.finish(t)
}

func (in *instance) upgrade(binary string) (status int, body []byte, err error) {
	request, err := json.Marshal(map[string]string{"binary": binary})
	if err != nil {
		return 0, nil, err
	}
	return in.ask("POST", "/v1/upgrade", string(request), patience)
}

// keeperFollows waits until the keeper has become the new version, too, which it
// does once that has been good for some time.
func (in *instance) keeperFollows(t *testing.T, c *trial) {
	t.Helper()
	server, keeper := fmt.Sprintf("/proc/%d/exe", in.server()), fmt.Sprintf("/proc/%d/exe", in.keeper())
	begin := time.Now()
	if !in.eventually(patience, func() bool {
		a, _ := os.Readlink(server)
		b, _ := os.Readlink(keeper)
		return a != "" && a == b
	}) {
		t.Errorf("the keeper is still another version than the server\n%s", in.logTail())
		return
	}
	c.measure("the keeper followed after %.0f s", time.Since(begin).Seconds())
}

// bad is a new binary that does not work.
type bad struct {
	name string
	// content of the file; %s is a version that works.
	content string
	mode    os.FileMode
	// refused: the server must not execute it at all.
	refused bool
}

// foreign is the head of a program: for a machine that no kernel runs, and nothing
// behind it.
const foreign = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x99\x99"

func badBinaries() []bad {
	// What passes the check, which is the command upgrade-check.
	passes := "#!/bin/sh\n[ \"$1\" = upgrade-check ] && { echo 'ok v9'; exit 0; }\n"
	return []bad{
		{"no execute permission", "#!/bin/sh\n", 0o644, true},
		{"another machine", foreign, 0o755, true},
		{"empty", "", 0o755, true},
		{"fails", "#!/bin/sh\necho broken >&2\nexit 1\n", 0o755, true},
		{"answers nonsense", "#!/bin/sh\necho hello\n", 0o755, true},
		{"ends at once", passes + "exit 1\n", 0o755, false},
		{"ends well at once", passes + "exit 0\n", 0o755, false},
		{"crashes when it serves", passes + "(sleep 0.2; kill -9 $$) & exec %s \"$@\"\n", 0o755, false},
		{"hangs", passes + "exec sleep 1000\n", 0o755, false},
		{"hangs when it is asked", "#!/bin/sh\nexec sleep 1000\n", 0o755, true},
	}
}

// upgradeToBroken upgrades to binaries that do not work. The old version must
// answer again within 5 s, and every child live on.
func upgradeToBroken(t *testing.T, c *trial) {
	in := c.newInstance(t, "mode: full\n", mixture(4, 3, 2))
	in.serve(t)
	w := in.watch(t, c)
	kinds := badBinaries()
	slowest := map[string]time.Duration{}
	for i := range c.count {
		b := kinds[i%len(kinds)]
		file := filepath.Join(world.root, "bin", fmt.Sprintf("bad-%s-%d", c.as.name, i))
		content := b.content
		if !b.refused && b.name == "crashes when it serves" {
			content = fmt.Sprintf(b.content, world.newer)
		}
		must(t, os.WriteFile(file, []byte(content), b.mode))
		took := in.survives(t, b, file)
		slowest[b.name] = max(slowest[b.name], took)
		must(t, os.Remove(file))
		if !w.checkAfter(t, i) {
			t.Errorf("after a new binary that %s", b.name)
			break
		}
	}
	worst, which := time.Duration(0), ""
	for name, took := range maps.All(slowest) {
		if took > worst {
			worst, which = took, name
		}
	}
	c.measure("slowest return of the old one %d ms (%s)", worst.Milliseconds(), which)
	w.probe.patient = true // the return is judged instead
	w.finish(t)
}

// survives upgrades to a file that does not work and measures how long it takes
// until the version of before answers for good.
func (in *instance) survives(t *testing.T, b bad, file string) time.Duration {
	t.Helper()
	before := in.awaitServer(t, 0)
	begin := time.Now()
	status, body, err := in.upgrade(file)
	if err == nil && status == 200 && b.refused {
		t.Fatalf("%s: the upgrade was carried out: %s", b.name, body)
	}
	back := func() bool {
		// A server that has come back is another process than the one that
		// executed the file.
		i, err := in.info()
		return err == nil && i.Version == "v1" && (b.refused || i.PID != before)
	}
	if !in.eventually(patience, back) {
		t.Fatalf("%s: the old version did not come back: %d %s\n%s", b.name, status, body, in.logTail())
	}
	took := time.Since(begin)
	// The server itself waits 5 s for the answer of a new binary, and answers
	// everybody else meanwhile.
	if took > 5*time.Second && b.name != "hangs when it is asked" {
		t.Errorf("%s: the old version answered after %v", b.name, took)
	}
	if now := in.server(); b.refused && now != before {
		t.Errorf("%s: the server was PID %d, is %d", b.name, before, now)
	}
	if err := unix.Kill(in.keeper(), 0); err != nil {
		t.Errorf("%s: the keeper is gone", b.name)
	}
	return took
}
