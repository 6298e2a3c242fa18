package keyring

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"
)

// hostDB is what known_hosts files said when they were read.
type hostDB struct {
	known *knownhosts.HostKeyDB
	// stamps are the identities of the files, the zero one of a missing file.
	stamps []identity
	// learnt are the hosts written since, by their names in the file, so that
	// the file need not be read again for each.
	learnt map[string]learntKey
}

type learntKey struct {
	public ssh.PublicKey
	file   string
}

func stampAll(files []string) ([]identity, error) {
	stamps := make([]identity, len(files))
	for i, file := range files {
		var st unix.Stat_t
		err := unix.Stat(file, &st)
		switch {
		case err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG && file != os.DevNull:
			// Reading a pipe may never end.
			return nil, fmt.Errorf("cannot read the known hosts in %s: it is no file", file)
		case err == nil:
			stamps[i] = identify(&st)
		case !errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("cannot read the known hosts in %s: %w", file, err)
		}
	}
	return stamps, nil
}

func readHostDB(files []string, stamps []identity) (*hostDB, error) {
	var there []string
	for i, file := range files {
		if stamps[i] != (identity{}) {
			there = append(there, file)
		}
	}
	known, err := knownhosts.NewDB(there...)
	var notRead *os.PathError
	if errors.As(err, &notRead) {
		return nil, fmt.Errorf("cannot read the known hosts in %s: %w", notRead.Path, notRead.Err)
	}
	if err != nil {
		// A line that cannot be read could be the one that revokes a key. The
		// errors of x/crypto name the file and the line.
		reason := strings.ReplaceAll(err.Error(), "knownhosts: ", "")
		return nil, fmt.Errorf("cannot read the known hosts: %s; mend or delete that line", reason)
	}
	return &hostDB{known: known, stamps: stamps, learnt: map[string]learntKey{}}, nil
}

// nowhere stands for the address of a connection: a host is known by the name
// that it was asked for by.
var nowhere = net.TCPAddr{IP: net.IPv4zero}

// check is false where the host is not known; a key that is not the known one,
// or a revoked one, is an error.
func (d *hostDB) check(addr string, key ssh.PublicKey) (known bool, err error) {
	remote := nowhere
	err = d.known.HostKeyCallback()(addr, &remote, key)
	var mismatch *xknownhosts.KeyError
	var revoked *xknownhosts.RevokedError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &revoked):
		e := untrusted(addr, key, fmt.Sprintf("has the %s key %s, which %s:%d revokes: do not use the host until its key was replaced",
			kindName(key), ssh.FingerprintSHA256(key), revoked.Revoked.Filename, revoked.Revoked.Line))
		e.File, e.Line = revoked.Revoked.Filename, revoked.Revoked.Line
		return false, e
	case errors.As(err, &mismatch) && len(mismatch.Want) > 0:
		return false, changed(addr, key, nearest(mismatch.Want, key))
	case mismatch == nil:
		return false, untrusted(addr, key, "cannot be checked: "+strings.ReplaceAll(err.Error(), "knownhosts: ", ""))
	}
	learnt, ok := d.learnt[knownhosts.Normalize(addr)]
	if ok && string(learnt.public.Marshal()) != string(key.Marshal()) {
		return false, changed(addr, key, xknownhosts.KnownKey{Key: learnt.public, Filename: learnt.file})
	}
	return ok, nil
}

// isLearnt tells whether the host was learnt since the files were read.
func (d *hostDB) isLearnt(addr string) bool {
	_, ok := d.learnt[knownhosts.Normalize(addr)]
	return ok
}

// nearest is the known key to show beside one that it is not: one of the same
// kind where there is one.
func nearest(known []xknownhosts.KnownKey, key ssh.PublicKey) xknownhosts.KnownKey {
	for _, k := range known {
		if k.Key.Type() == key.Type() {
			return k
		}
	}
	return known[0]
}

func changed(addr string, key ssh.PublicKey, was xknownhosts.KnownKey) *HostKeyError {
	e := untrusted(addr, key, fmt.Sprintf(
		"has another key than before, somebody may be in between: it was %s %s (%s:%d) and is %s %s; if the host was made anew, forget the old key: ssh-keygen -R %s -f %s",
		kindName(was.Key), ssh.FingerprintSHA256(was.Key), was.Filename, was.Line,
		kindName(key), ssh.FingerprintSHA256(key), quote(knownhosts.Normalize(addr)), quote(was.Filename)))
	e.Changed, e.File, e.Line = true, was.Filename, was.Line
	return e
}

// quote writes a word for a shell.
func quote(word string) string {
	if !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("/.-_:@%+=,", r) && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// plain is the key that is to be known: of a certificate whose authority is, the
// certificate, else the key that it certifies, as OpenSSH does it.
func (d *hostDB) plain(addr string, key ssh.PublicKey) (ssh.PublicKey, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, fmt.Errorf("cannot check the host key of %q: it is no host:port", addr)
	}
	if _, ok := key.(*ssh.Certificate); !ok {
		return key, nil
	}
	for _, known := range d.known.HostKeys(addr) {
		if known.Cert {
			return key, nil
		}
	}
	return certified(key), nil
}

// certified is the key of a certificate, and any other key itself.
func certified(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}
