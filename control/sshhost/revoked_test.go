package sshhost

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"kita/control/keyring"
)

// TestRevokedHostKeys: a key that is revoked is not learnt either, and a list
// that cannot be read could be the one that revokes it.
func TestRevokedHostKeys(t *testing.T) {
	host := (&fakeHost{key: signerOf(t, newKey(t))}).start(t)
	line := func(key ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(key)) }
	other := line(signerOf(t, newKey(t)).PublicKey())
	for name, tt := range map[string]struct {
		list, want string
	}{
		"another key":       {"# mine\n\n" + other, ""},
		"the key":           {"# mine\n\n" + other + line(host.key.PublicKey()), "revoked:4 revokes"},
		"no key":            {other + "hello\n", "revoked:2: no host is trusted without the RevokedHostKeys: this is no public key"},
		"a KRL":             {"SSHKRL\n\x00\x00\x00\x00\x01", "revoked: no host is trusted without the RevokedHostKeys: it is a KRL"},
		"no list, no trust": {"-", "revoked: no host is trusted without the RevokedHostKeys: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t, nil)
			writeKey(t, u.path("id_ed25519"), newKey(t), "")
			writeFile(t, u.path("config"), fmt.Sprintf("RevokedHostKeys %s\n", u.path("revoked")))
			if tt.list != "-" {
				writeFile(t, u.path("revoked"), tt.list)
			}
			before, _ := host.seen()
			h, err := u.Dial(t.Context(), host.target())
			if err == nil {
				_ = h.Close()
			}
			after, _ := host.seen()
			switch {
			case tt.want == "":
				if err != nil {
					t.Error(err)
				}
			case err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n"):
				t.Errorf("error %v, want one line with %q", err, tt.want)
			case len(after) > len(before) || len(u.notices) > 0:
				t.Errorf("it was offered %v; notices %q", after[len(before):], u.notices)
			}
			var distrust *keyring.HostKeyError
			if revoked := strings.HasSuffix(tt.want, " revokes"); errors.As(err, &distrust) != revoked {
				t.Errorf("%T", err)
			}
		})
	}
}

// TestRevokedAuthority: a certificate is no way around the list.
func TestRevokedAuthority(t *testing.T) {
	host, authority := signerOf(t, newKey(t)).PublicKey(), signerOf(t, newKey(t))
	certificate := &ssh.Certificate{Key: host, CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	for name, listed := range map[string]ssh.PublicKey{"its key": host, "its authority": authority.PublicKey()} {
		u := newUser(t, nil)
		writeFile(t, u.path("revoked"), string(ssh.MarshalAuthorizedKey(listed)))
		err := settings{revoked: []string{u.path("revoked")}}.checkRevoked("web:22", certificate)
		var distrust *keyring.HostKeyError
		if !errors.As(err, &distrust) || distrust.Line != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
