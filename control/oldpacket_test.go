package control

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kita/control/audit"
	"kita/spec"
)

const encryptLine = "Running on encrypt mode, need to dencrypt your command.\n"

func TestOldPacketsAreCarriedOut(t *testing.T) {
	h := newOldHouse(t)
	zero := ""
	for i := 0; zero == ""; i++ {
		if packet := h.sealed("ops", h.ops, fmt.Sprintf("check n%d", i)); strings.HasSuffix(packet, "\x00") {
			zero = packet
		}
	}
	tests := []struct {
		packet, want string
	}{
		{h.sealed("ops", h.ops, "start b"), "start b success"},
		{h.sealed("ops", h.ops, "start b"), "Cannot start this child b, it already exsits"},
		{h.sealed("ops", h.ops, "stop b with ops.pem"), "stop b success"},
		{h.sealed("ops", h.ops, "garbage"), "no legal operations input"},
		{zero, "==Check Results Below==\n"},
	}
	ways := map[string]func(packet string) []string{
		"at once":     func(packet string) []string { return []string{packet} },
		"in bytes":    letters,
		"in halves":   func(packet string) []string { return []string{packet[:100], packet[100:]} },
		"all but one": func(packet string) []string { return []string{packet[:len(packet)-1], packet[len(packet)-1:]} },
	}
	for name, cut := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := testService()
				p := newPipeServer(h.options(svc))
				for _, tt := range tests {
					began := time.Now()
					parts := cut(tt.packet)
					const pause = 10 * time.Millisecond
					if got := p.dial(t).say(t, pause, false, parts...); got != encryptLine+tt.want {
						t.Errorf("answer %q, want %q", got, tt.want)
					}
					// It is known to be complete, so no silence is waited for.
					if took, sending := time.Since(began), time.Duration(len(parts)-1)*pause; took != sending {
						t.Errorf("answered %v after the last byte", took-sending)
					}
				}
				for _, c := range svc.Commands() {
					if c.By != "old:ops@10.0.0.7" {
						t.Errorf("%v is by %s", c, c.By)
					}
				}
				p.end(t)
			})
		})
	}
	events := h.audited()
	if len(events) != len(ways)*len(tests) {
		t.Errorf("%d lines in the audit log, want %d", len(events), len(ways)*len(tests))
	}
	for i, e := range events {
		want := []string{"start ok", "start already-running", "stop ok", "connect bad-request", "check ok"}[i%len(tests)]
		if e.Via != viaOld || e.Key != "ops" || e.Peer != "10.0.0.7:2" || e.Verb+" "+e.Result != want {
			t.Errorf("audit line %+v, want %s", e, want)
		}
	}
	warnings := strings.Count(h.log.String(), `level=WARN msg="an old packet is carried out, which whoever saw it can send again" key=ops`)
	if warnings != len(events) {
		t.Errorf("%d warnings of %d packets:\n%s", warnings, len(events), h.log.String())
	}
}

// TestRefusedPacketsLookAlike: neither the bytes of an answer nor the time it
// takes tell which keys there are.
func TestRefusedPacketsLookAlike(t *testing.T) {
	h := newOldHouse(t)
	good := h.sealed("ops", h.ops, "stop a")
	body := strings.TrimPrefix(good, "ops;")
	tests := []struct{ name, packet, reason string }{
		{"no such key", "nobody;" + body, "no .pem or .pub file"},
		{"not in legacy_keys_path", h.sealed("away", h.away, "stop a"), "taken only with the key in legacy_keys_path as well"},
		{"another key in legacy_keys_path", h.sealed("mixed", h.mixed, "stop a"), "are two keys"},
		{"the other of two keys", h.sealed("mixed", h.ops, "stop a"), "are two keys"},
		{"somebody else's key", h.sealed("ops", h.away, "stop a"), "was not made with this key"},
		{"no RSA key", "curve;" + body, "is no RSA key"},
		{"weak key", h.sealed("short", h.short, "stop a"), "an RSA key of 1024 bits is too weak"},
		{"a bit amiss", "ops;" + body[:255] + string([]byte{body[255] ^ 1}), "was not made with this key"},
		{"too short", good[:len(good)-1], "has 255 bytes"},
		{"too long", good + "\x00", "has 257 bytes"},
		{"garbage", "ops;\x00", "has 1 bytes"},
		{"a path", "../old/ops;" + body, "can be no name of a key"},
		{"no name at all", strings.Repeat("x", 1<<12) + ";" + body, "can be no name of a key"},
	}
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		p := newPipeServer(h.options(svc))
		for _, tt := range tests {
			name, _, _ := strings.Cut(tt.packet, ";")
			began := time.Now()
			got := p.dial(t).say(t, 0, false, tt.packet)
			if want := encryptLine + "Cannot found '" + name + "' file in keys path"; got != want {
				t.Errorf("%s: answer %q, want %q", tt.name, got, want)
			}
			if took := time.Since(began); took != p.opt.Timing.Quiet {
				t.Errorf("%s: answered after %v", tt.name, took)
			}
		}
		for packet, want := range map[string]string{
			"stop a":                                "Cannot parse encrypt data",
			";" + body:                              "Keyname or command is empty",
			"ops;":                                  "Keyname or command is empty",
			"ops;" + strings.Repeat("x", 64<<10+10): "the request is too long, the limit is 65536 bytes",
		} {
			if got := p.dial(t).say(t, 0, false, packet); got != encryptLine+want {
				t.Errorf("%.10q: answer %q", packet, got)
			}
		}
		p.end(t)
		if commands := svc.Commands(); len(commands) != 0 {
			t.Errorf("carried out: %v", commands)
		}
	})
	events := h.audited()
	if len(events) != len(tests)+4 {
		t.Fatalf("%d lines in the audit log, want %d", len(events), len(tests)+4)
	}
	for i, tt := range tests {
		e := events[i]
		if e.Via != viaOld || e.Key != "" || e.Verb != verbConnect || e.Result != string(codeForbidden) || !strings.Contains(e.Detail, tt.reason) || len(e.Detail) > 1200 {
			t.Errorf("%s: audit line %+v, want %q", tt.name, e, tt.reason)
		}
	}
	if !slices.ContainsFunc(events[len(tests):], func(e audit.Event) bool { return e.Result == string(codeTooLarge) }) {
		t.Errorf("no line tells of the oversized packet: %+v", events[len(tests):])
	}
}

func TestARevokedOldKeyAndItsReplays(t *testing.T) {
	h := newOldHouse(t)
	packet := h.sealed("ops", h.ops, "trystart a")
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		p := newPipeServer(h.options(svc))
		if got := p.dial(t).say(t, 0, false, packet); !strings.Contains(got, "Start a success") {
			t.Errorf("answer %q", got)
		}
		h.remove("old/ops.pem")
		for range 100 {
			if got := p.dial(t).say(t, 0, false, packet); got != encryptLine+"Cannot found 'ops' file in keys path" {
				t.Errorf("answer %q", got)
			}
		}
		if commands := svc.Commands(); len(commands) != 1 {
			t.Errorf("%d commands were carried out, want 1", len(commands))
		}
		p.end(t)
	})
	refused := 0
	for _, e := range h.audited() {
		if e.Verb == verbConnect && strings.Contains(e.Detail, "legacy_keys_path") {
			refused++
		}
	}
	if refused != 100 {
		t.Errorf("%d lines on refused packets, want 100", refused)
	}
}

func TestAccessHoldsForOldPackets(t *testing.T) {
	h := newOldHouse(t)
	h.allow(spec.Access{{Keys: []string{"ops"}, Rights: []spec.Right{spec.Operate}, Children: []string{"w*"}}})
	synctest.Test(t, func(t *testing.T) {
		svc := testService()
		p := newPipeServer(h.options(svc))
		for command, want := range map[string]string{
			"start web": "start web success",
			"stop a":    `key "ops" may not stop a`,
			"kill":      `key "ops" may not kill`,
			"check":     `key "ops" may not check`,
		} {
			if got := p.dial(t).say(t, 0, false, h.sealed("ops", h.ops, command)); !strings.HasPrefix(got, encryptLine+want) {
				t.Errorf("%s: answer %q, want %q", command, got, want)
			}
		}
		if commands := svc.Commands(); len(commands) != 1 || commands[0].Child != "web" {
			t.Errorf("carried out: %v", commands)
		}
		p.end(t)
	})
}

// TestAnOldPacketOutlivesTheServer: the next one finishes what a packet began,
// though its key was revoked meanwhile.
func TestAnOldPacketOutlivesTheServer(t *testing.T) {
	keys := newOldHouse(t)
	svc, began, _ := slowService()
	h := newHouse(t, keys.options(svc))
	text := h.dial("tcp", h.addr)
	text.say(keys.sealed("ops", keys.ops, "stop b"))
	<-began
	keys.remove("pub/ops.pem")
	svc, _, finish := slowService()
	finish()
	h.handOver(keys.options(svc), nil)
	if answer, err := io.ReadAll(text); err != nil || string(answer) != encryptLine+"stop b success" {
		t.Errorf("answer %q, %v", answer, err)
	}
	until(t, "the audit line", func() bool {
		text, _ := os.ReadFile(keys.config.AuditLog)
		return bytes.Count(text, []byte("\n")) == 1
	})
	if e := keys.audited()[0]; e.Via != viaOld || e.Key != "ops" || e.Verb != "stop" || e.Result != "ok" {
		t.Errorf("audit line %+v", e)
	}
}

func TestInfoTellsOfKeysThatCannotBeUsed(t *testing.T) {
	h := newOldHouse(t)
	p := newTCPServer(t, h.options(testService()))
	info, err := Dial(Target{Unix: p.socket}).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"pub", "old"} {
		if want := h.dir + "/" + dir + "/short.pem: an RSA key of 1024 bits"; !strings.Contains(strings.Join(info.Problems, "\n"), want) {
			t.Errorf("problems %q do not say %q", info.Problems, want)
		}
	}
}

// Ten thousand packets that were tampered with, and then the server is as it was
// before.
func TestMalformedPackets(t *testing.T) {
	h := newOldHouse(t)
	svc := testService()
	opt := h.options(svc)
	opt.Logger = nil
	opt.Timing = Timing{Request: 100 * time.Millisecond, Quiet: time.Millisecond, Patience: time.Millisecond, Linger: 20 * time.Millisecond}
	p := newTCPServer(t, opt)
	packet := h.sealed("ops", h.ops, "check nobody")
	good := [][]byte{
		[]byte(packet), []byte(packet[:200]), []byte("mixed;" + packet[4:]), []byte("curve;" + packet[4:]), []byte(packet + packet),
		append([]byte("ops;"), bytes.Repeat([]byte{0xff}, 256)...), []byte("../pub/ops;" + packet[4:]), []byte("stop a"),
	}
	storm(t, p, good)
	if commands := svc.Commands(); len(commands) != 0 {
		t.Errorf("carried out: %v", commands)
	}
	c := p.dial(t)
	_, _ = io.WriteString(c, packet)
	if answer, err := io.ReadAll(c); string(answer) != encryptLine+"==Check Results Below==\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
}
