package control

import (
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
	"kita/control/tunnel"
)

// TestChannelsAreGivenBack asks with the client of kita, over one connection and
// over many, for more channels than a key may have at once.
func TestChannelsAreGivenBack(t *testing.T) {
	h := newSSHHouse(t, Options{})
	signer := h.admit(t, "ops").(ssh.MultiAlgorithmSigner)
	connect := func() *tunnel.Conn {
		conn, err := tunnel.Dial(t.Context(), h.addr, tunnel.Config{
			User: "ops", Signer: signer, HostKeys: &keyring.KnownHosts{Files: []string{filepath.Join(h.dir, "known_hosts")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	ask := func(conn *tunnel.Conn) {
		client := Dial(Target{Through: conn})
		defer client.Close()
		if _, err := client.List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	one := connect()
	for range maxChannelsOfKey + 10 {
		ask(one)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	for range maxChannelsOfKey + 10 {
		conn := connect()
		ask(conn)
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	until(t, "every channel and connection is given back", func() bool { return len(h.channelSlots) == 0 && h.Stats().Open == 0 })
}
