package control

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kita/control/audit"
	"kita/control/controltest"
	"kita/control/legacy"
	"kita/spec"
)

// oldHouse is what a server that takes old packets needs: directories of keys,
// an audit log, and its own log.
type oldHouse struct {
	t   *testing.T
	dir string
	// ops is in both paths, away only in pub_keys_path; of mixed there is another
	// key in each; short is too weak.
	ops, away, mixed, short *rsa.PrivateKey
	log                     bytes.Buffer
	mu                      sync.Mutex
	config                  spec.Server
}

func newOldHouse(t *testing.T) *oldHouse {
	t.Helper()
	h := &oldHouse{t: t, dir: t.TempDir()}
	h.config = *spec.DefaultServer()
	h.config.PubKeysPath, h.config.LegacyKeysPath = []string{h.dir + "/pub"}, []string{h.dir + "/old"}
	h.config.AuditLog = h.dir + "/audit.log"
	for _, dir := range []string{"pub", "old"} {
		if err := os.Mkdir(filepath.Join(h.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.ops, h.away, h.mixed, h.short = oldKeys()[0], oldKeys()[1], oldKeys()[2], oldKeys()[3]
	h.put("pub/ops.pem", &h.ops.PublicKey)
	h.put("old/ops.pem", &h.ops.PublicKey)
	h.put("pub/away.pem", &h.away.PublicKey)
	h.put("pub/mixed.pem", &h.mixed.PublicKey)
	h.put("old/mixed.pem", &h.ops.PublicKey)
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"pub", "old"} {
		h.put(dir+"/short.pem", &h.short.PublicKey)
		h.put(dir+"/curve.pem", public)
	}
	return h
}

// oldKeys are made once: they take long.
var oldKeys = sync.OnceValue(func() (keys []*rsa.PrivateKey) {
	for _, bits := range []int{2048, 2048, 2048, 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
})

func (h *oldHouse) put(name string, public any) {
	h.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		h.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(h.dir, name), text, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *oldHouse) remove(name string) {
	h.t.Helper()
	if err := os.Remove(filepath.Join(h.dir, name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *oldHouse) options(svc *controltest.Service) Options {
	return Options{
		Service: svc, Encrypt: true, Logger: slog.New(slog.NewTextHandler(&h.log, nil)),
		Config: func() *spec.Server {
			h.mu.Lock()
			defer h.mu.Unlock()
			config := h.config
			return &config
		},
	}
}

func (h *oldHouse) allow(access spec.Access) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.config.Access = access
}

// sealed is a packet of the key as its owner's old client sends it.
func (h *oldHouse) sealed(name string, key *rsa.PrivateKey, command string) string {
	h.t.Helper()
	packet, err := legacy.Seal(name, key, command)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(packet)
}

// audited are the lines of the audit log.
func (h *oldHouse) audited() []audit.Event {
	h.t.Helper()
	text, err := os.ReadFile(h.config.AuditLog)
	if err != nil {
		h.t.Fatal(err)
	}
	var events []audit.Event
	for line := range strings.Lines(string(text)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			h.t.Fatalf("%q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}
