package control

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// After an upgrade to encrypt mode nothing is told in clear any more, but for
// the answers to what was begun before.
func TestAnUpgradeToEncryptModeEndsWhatIsInClear(t *testing.T) {
	config := spec.DefaultServer()
	config.AuditLog = filepath.Join(t.TempDir(), "audit")
	svc, began, _ := slowService()
	opt := Options{Service: svc, Config: func() *spec.Server { return config }, Timing: Timing{Heartbeat: time.Hour}}
	h := newHouse(t, opt)
	remote, local := h.dial("tcp", h.addr), h.dial("unix", h.socket)
	for _, c := range []*caller{remote, local} {
		c.say("GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for line := ""; !strings.Contains(line, string(spec.Synced)); {
			var err error
			if line, err = c.r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	command, text, idle := h.dial("tcp", h.addr), h.dial("tcp", h.addr), h.dial("tcp", h.addr)
	command.say(post("/v1/children/a/stop", "{}"))
	text.say("stop b\n")
	for range 2 {
		<-began
	}
	idle.say(getHealth)
	idle.wantAnswer(200, "ok")

	svc, _, finish := slowService()
	finish()
	opt.Service, opt.Encrypt = svc, true
	h.handOver(opt, nil)
	// The end of the line that is there, the last chunk and the end.
	if rest, err := io.ReadAll(remote.r); err != nil || string(rest) != "\r\n0\r\n\r\n" {
		t.Errorf("the watch goes on with %q, %v", rest, err)
	}
	if line, err := local.r.ReadString('}'); err != nil || !strings.Contains(line, string(spec.Present)) {
		t.Errorf("the watch over the unix socket goes on with %q, %v", line, err)
	}
	if response := command.wantAnswer(200, `"note":"after +"`); !response.Close {
		t.Error("a connection in clear is kept")
	}
	if answer, err := io.ReadAll(text); err != nil || string(answer) != "stop b success" {
		t.Errorf("text: %q, %v", answer, err)
	}
	idle.say(getHealth)
	idle.wantAnswer(403, "encrypt mode")
	wantAuditLine(t, config.AuditLog, `"stop"`, `"a"`, `"ok"`)
	wantAuditLine(t, config.AuditLog, `"stop"`, `"b"`, `"ok"`)
	wantAuditLine(t, config.AuditLog, `"connect"`, `"forbidden"`, "the watch ends")
}
