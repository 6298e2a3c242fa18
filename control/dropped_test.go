package control

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"kita/spec"
)

// Of a request whose client goes away while no server looks after it the next
// one writes the line: what it wanted is carried out.
func TestAuditOfWhoLeavesBetweenTwoServers(t *testing.T) {
	config := spec.DefaultServer()
	config.AuditLog = filepath.Join(t.TempDir(), "audit")
	svc, began, _ := slowService()
	upgrading := make(chan struct{})
	h := newHouse(t, Options{
		Service: svc, Config: func() *spec.Server { return config },
		Upgrade: func(ctx context.Context, _, _ string) error {
			close(upgrading)
			<-ctx.Done()
			return ctx.Err()
		},
	})
	command, text, upgrade, idle := h.dial("tcp", h.addr), h.dial("tcp", h.addr), h.dial("tcp", h.addr), h.dial("tcp", h.addr)
	command.say(post("/v1/children/a/stop", "{}"))
	text.say("stop b\n")
	upgrade.say(post("/v1/upgrade", "{}"))
	idle.say(getHealth)
	idle.wantAnswer(200, "ok")
	<-began
	<-began
	<-upgrading
	handed, err := h.server.HandOver(t.Context())
	if err != nil || len(handed) != 4 {
		t.Fatalf("handed over %+v, %v", handed, err)
	}
	defer os.Remove(h.socket)
	var want []string
	for c, line := range map[*caller]string{
		command: `"via":"tcp","verb":"stop","child":"a","result":"gone","detail":"during the upgrade: the client has left"`,
		text:    `"via":"tcp","verb":"stop","child":"b","result":"gone"`,
		upgrade: `"via":"tcp","verb":"upgrade","result":"bad-binary","detail":"it is no good"`,
		idle:    "",
	} {
		if line != "" {
			want = append(want, `"peer":"`+c.LocalAddr().String()+`",`+line)
		}
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}

	var mu sync.Mutex
	var observed []string
	next := NewServer(Options{
		Service: testService(), Config: func() *spec.Server { return config },
		ObserveCommand: func(verb, result string) {
			mu.Lock()
			defer mu.Unlock()
			observed = append(observed, verb+" "+result)
		},
	})
	next.Resume(handed, spec.Upgraded{}, spec.Refuse(spec.BadBinary, "", "", "it is no good"))
	closeServer(t, next)
	for _, line := range want {
		wantAuditLine(t, config.AuditLog, line)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(observed, []string{"stop gone", "stop gone"}) {
		t.Errorf("observed are %q", observed)
	}
	if content, err := os.ReadFile(config.AuditLog); err != nil || bytes.Count(content, []byte("\n")) != len(want) {
		t.Errorf("%v, the log has\n%s", err, content)
	}
}
