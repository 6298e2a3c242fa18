package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kita/control/audit"
	"kita/spec"
)

// TestRefused shows everything that an encrypted server must refuse: whoever
// asks is told so, and the audit log has a line on it.
func TestRefused(t *testing.T) {
	t.Parallel()
	in := newSecureServer(t, `
access:
  - {keys: [ops], verbs: [admin]}
  - {keys: [ci], verbs: [read], children: ["w*"]}
`)
	in.makeKey(t, "ops", "pub")
	in.makeKey(t, "ci", "pub")
	in.run(t, 0, "kita", "check", "on", in.addr, "with", "ops.pem")

	t.Run("unknown key", func(t *testing.T) {
		in.makeKey(t, "stranger", "elsewhere")
		in.refused(t, `refuses the key stranger`, "kita", "check", "on", in.addr, "with", "stranger.pem")
		in.awaitAudit(t, audit.Event{Via: "ssh", Verb: "connect"}, in.fingerprint(t, "stranger.pem"))
		_, text, err := in.http("unix", "GET", "/metrics", "", nil)
		if err != nil || !strings.Contains(text, `kita_connections_refused_total{reason="key"} 1`) {
			t.Errorf("the metrics do not count it: %v", err)
		}
	})
	t.Run("wrong key", func(t *testing.T) {
		// The name is known, the key is another.
		if err := os.Mkdir(in.path("forged"), 0o700); err != nil {
			t.Fatal(err)
		}
		in.makeKey(t, "forged/ops", "elsewhere")
		in.refused(t, `refuses the key ops`, "kita", "check", "on", in.addr, "with", "forged/ops.pem")
		in.awaitAudit(t, audit.Event{Via: "ssh", Verb: "connect"}, in.fingerprint(t, "forged/ops.pem"))
	})
	t.Run("key without the right", func(t *testing.T) {
		in.run(t, 0, "kita", "check", "web", "on", in.addr, "with", "ci.pem")
		in.refused(t, `key "ci" may not stop web`, "kita", "stop", "web", "on", in.addr, "with", "ci.pem")
		in.awaitAudit(t, audit.Event{Via: "ssh", Key: "ci", Verb: "stop", Child: "web", Result: "forbidden"}, "ci")
		in.refused(t, `key "ci" may not check stubborn`, "kita", "check", "stubborn", "on", in.addr, "with", "ci.pem")
		in.refused(t, `key "ci" may not stop all`, "kita", "stop", "all", "on", in.addr, "with", "ci.pem")
		in.refused(t, `key "ci" may not kill`, "kita", "kill", "on", in.addr, "with", "ci.pem")
		in.mustRun(t, "web")
	})
	t.Run("RSA of 1024 bits", func(t *testing.T) {
		in.tool(t, "openssl", "genrsa", "-out", "weak.pem", "1024")
		in.tool(t, "openssl", "rsa", "-in", "weak.pem", "-pubout", "-out", "pub/weak.pem")
		in.refused(t, `1024 bits`, "kita", "check", "on", in.addr, "with", "weak.pem")
		// A client that does not mind is refused by the server.
		in.tool(t, "ssh-keygen", "-y", "-f", "weak.pem")
		out, status := in.ssh(t, "weak.pem", "check")
		if status != 255 || !strings.Contains(out, "Permission denied") {
			t.Errorf("ssh ends with %d: %s", status, out)
		}
		in.awaitAudit(t, audit.Event{Via: "ssh", Verb: "connect"}, "1024 bits")
	})
	t.Run("old packet, replayed", func(t *testing.T) {
		in.tool(t, "openssl", "genrsa", "-out", "old.pem", "2048")
		in.tool(t, "openssl", "rsa", "-in", "old.pem", "-pubout", "-out", "pub/old.pem")
		packet := in.oldPacket(t, "old.pem", "start idle")
		const refusal = "Running on encrypt mode, need to dencrypt your command.\nCannot found 'old' file in keys path"
		for range 100 {
			if answer := in.send(t, packet); answer != refusal {
				t.Fatalf("the answer is %q", answer)
			}
		}
		in.awaitAudit(t, audit.Event{Via: "old", Verb: "connect"}, "old")
		if v := in.view(t, "idle"); v.Status.Starts != 0 {
			t.Fatalf("a replayed packet started a child: %s", describe(v))
		}
		// It is the right packet all the same: with the rights of an old key it
		// gets as far as the access rules.
		in.tool(t, "cp", "pub/old.pem", "legacy/old.pem")
		if answer := in.send(t, packet); !strings.Contains(answer, `key "old" may not start idle`) {
			t.Errorf("the answer is %q", answer)
		}
		in.awaitAudit(t, audit.Event{Via: "old", Key: "old", Verb: "start", Child: "idle", Result: "forbidden"}, "old")
	})
	t.Run("plain commands", func(t *testing.T) {
		in.refused(t, `with KEY`, "kita", "check", "on", in.addr)
		in.awaitAudit(t, audit.Event{Via: "tcp", Verb: "connect"}, "encrypt")
		const line = "Running on encrypt mode, need to dencrypt your command.\n"
		if answer := in.send(t, []byte("start idle")); !strings.HasPrefix(answer, line) {
			t.Errorf("the answer is %q", answer)
		}
		status, body, err := in.http("tcp", "GET", "/metrics", "", nil)
		if err != nil || status != 403 || !strings.Contains(body, "metrics_addr") {
			t.Errorf("/metrics: %d, %v: %s", status, err, body)
		}
	})
	t.Run("oversized packet", func(t *testing.T) {
		answer := in.send(t, append([]byte("ops;"), bytes.Repeat([]byte{'x'}, 100<<10)...))
		if !strings.Contains(answer, "too long") {
			t.Errorf("the answer is %q", answer)
		}
		in.awaitAudit(t, audit.Event{Via: "tcp", Verb: "connect"}, "too long")
	})
	t.Run("a client that stalls", func(t *testing.T) {
		nc, err := net.Dial("tcp", in.tcp())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, "SSH-2.0-slow\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, nc); err != nil {
			t.Fatalf("the server does not let go: %v", err)
		}
		in.awaitAudit(t, audit.Event{Via: "ssh", Verb: "connect"}, "10s")
	})
	t.Run("revoked key", func(t *testing.T) {
		in.run(t, 0, "kita", "start", "stubborn", "on", in.addr, "with", "ops.pem")
		if err := in.awaitFile("children/ready"); err != nil {
			t.Fatal(err)
		}
		stop := in.command("kita", "stop", "stubborn", "on", in.addr, "with", "ops.pem")
		var said bytes.Buffer
		stop.Stderr = &said
		if err := stop.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := in.await("stubborn", func(v spec.View) bool { return v.Status.Phase == spec.PhaseStopping }); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(in.path("pub/ops.pem")); err != nil {
			t.Fatal(err)
		}
		// The connection that waits for the stop ends, the stop goes on.
		if err := stop.Wait(); err == nil {
			t.Error("the command of a revoked key went on to its end")
		} else if said.Len() == 0 {
			t.Errorf("it ends with %v and says nothing", err)
		}
		if err := os.WriteFile(in.path("children/go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		in.mustAwait(t, "stubborn", func(v spec.View) bool { return v.Status.Phase == spec.PhaseStopped })
		in.awaitAudit(t, audit.Event{Via: "ssh", Key: "ops"}, "ops")
		in.refused(t, `refuses the key ops`, "kita", "check", "on", in.addr, "with", "ops.pem")
		in.awaitAudit(t, audit.Event{Via: "ssh", Verb: "connect"}, in.fingerprint(t, "ops.pem"))
	})
	t.Run("changed host key", func(t *testing.T) {
		if status, err := in.signal(syscall.SIGTERM); err != nil || status != 0 {
			t.Fatalf("the server ends with %d, %v", status, err)
		}
		if err := os.Remove(in.path("state/host_key")); err != nil {
			t.Fatal(err)
		}
		if err := in.serve(nil, nil); err != nil {
			t.Fatal(err)
		}
		in.refused(t, `known_hosts:1)`, "kita", "check", "on", in.addr, "with", "ci.pem")
		in.awaitAudit(t, audit.Event{Via: "ssh", Verb: "connect"}, "broke the handshake off")
	})
}

// newSecureServer is a server with encrypt on, an audit log in audit.log,
// directories for keys, and three children: web runs, idle and stubborn do not.
func newSecureServer(t *testing.T, config string) *instance {
	t.Helper()
	dir, err := os.MkdirTemp(world.root, "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"pub", "legacy", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config = "encrypt: on\nmode: half\nstartup: [web]\naudit_log: audit.log\n" +
		"pub_keys_path: [" + dir + "/pub]\nlegacy_keys_path: [" + dir + "/legacy]\n" + config
	return newServerIn(t, dir, nil, config, map[string]string{
		"web": "command: sleep 1000\n", "idle": "command: sleep 1000\n",
		"stubborn": "command: [sh, -c, \"trap '' TERM; : > ready; until [ -e go ]; do sleep 0.05; done\"]\nstop: {grace: 50s}\n",
	})
}

// makeKey makes NAME.pem, as the users of supervisor-rs do, and its public half
// in the directory.
func (in *instance) makeKey(t *testing.T, name, dir string) {
	t.Helper()
	in.tool(t, "openssl", "genrsa", "-out", name+".pem", "2048")
	in.tool(t, "openssl", "rsa", "-in", name+".pem", "-outform", "PEM", "-pubout", "-out", dir+"/"+filepath.Base(name)+".pem")
}

// fingerprint is what ssh-keygen says of a key.
func (in *instance) fingerprint(t *testing.T, key string) string {
	t.Helper()
	public := in.tool(t, "ssh-keygen", "-y", "-f", key)
	if err := os.WriteFile(in.path("fingerprint.pub"), []byte(public), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(in.tool(t, "ssh-keygen", "-l", "-f", "fingerprint.pub"))
	if len(fields) < 2 {
		t.Fatalf("ssh-keygen -l says %q", fields)
	}
	return fields[1]
}

// command is a client in the directory and environment of the instance.
func (in *instance) command(args ...string) *exec.Cmd {
	name := args[0]
	if name == "kita" || strings.HasPrefix(name, "supervisor-rs-") {
		name = filepath.Join(world.bin, name)
	}
	c := exec.Command(name, args[1:]...)
	c.Dir = in.dir
	c.Env = append(in.env, "XDG_CONFIG_HOME="+in.path("config"))
	return c
}

// run runs a client and wants its exit status.
func (in *instance) run(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := in.command(args...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Kill() })
	defer stop()
	_ = c.Wait()
	if got := c.ProcessState.ExitCode(); got != want {
		t.Errorf("%s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, want, out.String(), said.String())
	}
	return out.String(), said.String()
}

// refused runs a client that is to fail with the words.
func (in *instance) refused(t *testing.T, words string, args ...string) {
	t.Helper()
	if _, said := in.run(t, 1, args...); !strings.Contains(said, words) {
		t.Errorf("%s says\n%swithout %q", strings.Join(args, " "), said, words)
	}
}

// tool runs a program that must succeed, and returns what it says.
func (in *instance) tool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := in.command(args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// ssh runs OpenSSH's client, with nothing of its user's configuration.
func (in *instance) ssh(t *testing.T, key string, args ...string) (out string, status int) {
	t.Helper()
	all := append([]string{
		"ssh", "-F", "none", "-p", "33889", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=" + in.path("ssh_known_hosts"), "x@" + in.addr,
	}, args...)
	c := in.command(all...)
	text, _ := c.CombinedOutput()
	return string(text), c.ProcessState.ExitCode()
}

// oldPacket is what the client of supervisor-rs sends, made by openssl.
func (in *instance) oldPacket(t *testing.T, key, command string) []byte {
	t.Helper()
	sign := in.command("openssl", "pkeyutl", "-sign", "-inkey", key, "-pkeyopt", "rsa_padding_mode:pkcs1")
	sign.Stdin = strings.NewReader(command)
	body, err := sign.Output()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(strings.TrimSuffix(key, ".pem")+";"), body...)
}

// send writes a request as an old client does, and reads to the end.
func (in *instance) send(t *testing.T, packet []byte) string {
	t.Helper()
	nc, err := net.Dial("tcp", in.tcp())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	// Of a packet that is too long the server need not take all.
	_, _ = nc.Write(packet)
	answer, err := io.ReadAll(nc)
	if err != nil {
		t.Fatalf("the answer breaks off after %q: %v", answer, err)
	}
	return string(answer)
}

func (in *instance) view(t *testing.T, child string) spec.View {
	t.Helper()
	v, err := in.client().Get(t.Context(), child)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (in *instance) mustRun(t *testing.T, child string) {
	t.Helper()
	if v := in.view(t, child); v.Status.Process == nil {
		t.Errorf("%s does not run: %s", child, describe(v))
	}
}

// audits are the lines of the audit log.
func (in *instance) audits(t *testing.T) []audit.Event {
	t.Helper()
	text, err := os.ReadFile(in.path("audit.log"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var events []audit.Event
	for line := range strings.Lines(string(text)) {
		var e audit.Event
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("the audit log has the line %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// awaitAudit waits for a line that has every field of want that is set, is no
// success unless want says so, and has the words in its detail or key.
func (in *instance) awaitAudit(t *testing.T, want audit.Event, words string) {
	t.Helper()
	matches := func(e audit.Event) bool {
		return (want.Via == "" || e.Via == want.Via) && (want.Key == "" || e.Key == want.Key) &&
			(want.Verb == "" || e.Verb == want.Verb) && (want.Child == "" || e.Child == want.Child) &&
			(want.Result == e.Result || want.Result == "" && e.Result != "ok") &&
			strings.Contains(e.Detail+" "+e.Key, words) && e.Peer != "" && !e.Time.IsZero()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		events := in.audits(t)
		for _, e := range events {
			if matches(e) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("the audit log has no line like %+v with %q:\n%s", want, words, lastEvents(events))
		}
	}
}

func lastEvents(events []audit.Event) string {
	var b strings.Builder
	for _, e := range events[max(0, len(events)-20):] {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	return b.String()
}
