package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestHostsOfANetwork asks two servers, each in a network namespace of its own,
// and between them an address whose packets are dropped: nobody answers its
// SYN, nor refuses it. One command with a key, one without: the servers are
// encrypted and open.
func TestHostsOfANetwork(t *testing.T) {
	needSandbox(t)
	t.Parallel()
	here, first, second := newNamespace(t), newNamespace(t), newNamespace(t)
	here.cable(t, "10.99.1", first)
	here.cable(t, "10.99.2", second)
	// The frame goes down the cable, and who gets it has no such address.
	here.run(t, "ip", "neigh", "add", "10.99.1.77", "lladdr", "02:00:00:00:00:77", "dev", "to"+strconv.Itoa(first.pid))

	open := newServerAs(t, first.enter(filepath.Join(world.bin, "kita"), "serve", "server.yml"),
		"mode: full\nlistener_addr: 10.99.1.2\n", map[string]string{"web": "command: sleep 1000\n"})
	open.mustRun(t, "web")
	const hosts = "10.99.1.2,10.99.1.77,10.99.2.2"

	t.Run("open", func(t *testing.T) {
		other := newServerAs(t, second.enter(filepath.Join(world.bin, "kita"), "serve", "server.yml"),
			"mode: full\nlistener_addr: 10.99.2.2\n", map[string]string{"web": "command: sleep 1000\n"})
		other.mustRun(t, "web")
		out, said := open.run(t, 4, here.enter("kita", "check", "on", hosts)...)
		if a, b := strings.Index(out, "10.99.1.2:33889: "), strings.Index(out, "10.99.2.2:33889: "); a < 0 || b < a || strings.Contains(out, "10.99.1.77") {
			t.Errorf("the answers are\n%s", out)
		}
		if !strings.Contains(said, "10.99.1.77:33889 did not answer in time") {
			t.Errorf("of the host that drops packets it says\n%s", said)
		}
		out, _ = open.run(t, 4, here.enter("kita", "trystart", "web", "-o", "json", "on", hosts)...)
		var answers map[string]struct {
			Error, Code string
			Child       string
		}
		if err := json.Unmarshal([]byte(out), &answers); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		if len(answers) != 3 || answers["10.99.1.77:33889"].Code != "unreachable" ||
			answers["10.99.1.2:33889"].Child != "web" || answers["10.99.2.2:33889"].Child != "web" {
			t.Errorf("the answers are\n%s", out)
		}
	})
	t.Run("encrypted", func(t *testing.T) {
		dir := t.TempDir()
		other := newServerAs(t, second.enter(filepath.Join(world.bin, "kita"), "serve", "server.yml"),
			"mode: full\nencrypt: on\npub_keys_path: ["+dir+"]\nlistener_addr: 10.99.2.2\n", map[string]string{"web": "command: sleep 1000\n"})
		other.makeKey(t, "ops", dir)
		// The key is tried on each host: the open server knows none.
		out, said := other.run(t, 4, here.enter("kita", "check", "with", "ops.pem", "on", hosts)...)
		if !strings.Contains(out, "10.99.2.2:33889: ") || strings.Contains(out, "10.99.1.2:33889: ") {
			t.Errorf("the answers are\n%s", out)
		}
		if !strings.Contains(said, "10.99.1.77:33889 did not answer in time") || !strings.Contains(said, "10.99.1.2:33889 refuses the key ops") {
			t.Errorf("of the others it says\n%s", said)
		}
	})
}

// namespace is a network namespace, held by a process that sleeps.
type namespace struct{ pid int }

func newNamespace(t *testing.T) namespace {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	hold := exec.CommandContext(ctx, "unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600")
	out, err := hold.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = hold.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("cannot make a network namespace: %q, %v", line, err)
	}
	return namespace{hold.Process.Pid}
}

// enter is the command line that runs another one in the namespace.
func (n namespace) enter(args ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(n.pid), "-n"}, args...)
}

func (n namespace) run(t *testing.T, args ...string) {
	t.Helper()
	all := n.enter(args...)
	if out, err := exec.Command(all[0], all[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// cable joins two namespaces: NET.1 is this one, NET.2 the other.
func (n namespace) cable(t *testing.T, network string, other namespace) {
	t.Helper()
	mine, its := fmt.Sprintf("to%d", other.pid), fmt.Sprintf("to%d", n.pid)
	n.run(t, "ip", "link", "add", mine, "type", "veth", "peer", "name", its, "netns", strconv.Itoa(other.pid))
	for _, end := range []struct {
		at           namespace
		device, addr string
	}{{n, mine, network + ".1/24"}, {other, its, network + ".2/24"}} {
		end.at.run(t, "ip", "addr", "add", end.addr, "dev", end.device)
		end.at.run(t, "ip", "link", "set", end.device, "up")
	}
}
