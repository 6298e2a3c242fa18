package keyring

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// KnownHosts says which servers are who they say. Its methods may be called
// from many goroutines at once; files are appended to whole lines at a time, so
// several programs may share one. It must not be copied.
type KnownHosts struct {
	// Files are read, in the format of OpenSSH; one that is missing is empty.
	// The first is where a new host is written, with its directory where that is
	// missing.
	Files []string
	// Strict: a host that is not known is refused; else it is trusted this
	// once, written down and told to Notice.
	Strict bool
	// Notice gets the line that shows a new host's fingerprint.
	Notice func(line string)

	// mu is held while the files are read and written: a thousand hosts that
	// are met at the same time must not read them a thousand times.
	mu sync.Mutex
	db *hostDB // owned by mu: nil before the first use
	// impatient, owned by mu: another program keeps the file locked. It was
	// waited for once, and is not for each further host that waits for mu.
	impatient bool
}

// DefaultKnownHosts is kita's own file, known_hosts in the user's directory of
// configuration.
func DefaultKnownHosts() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("cannot tell where known_hosts is: %w", err)
	}
	return filepath.Join(dir, "kita", "known_hosts"), nil
}

// HostKeyError is the error of a host that is not to be trusted.
type HostKeyError struct {
	// Host is its address as known_hosts has it.
	Host string
	// Changed: another key is known for it, in the file at the line.
	Changed bool
	File    string
	Line    int
	// Fingerprint is that of the key it has now.
	Fingerprint string
	// Message is one line for people, with the remedy.
	Message string
}

func (e *HostKeyError) Error() string { return e.Message }

// Callback is what ssh.ClientConfig takes. Its errors are *HostKeyError, or say
// that a file cannot be read or written. The address that it is called with, a
// host:port, is what the host is known by; where it was reached does not matter.
func (k *KnownHosts) Callback() ssh.HostKeyCallback {
	return func(addr string, _ net.Addr, key ssh.PublicKey) error {
		notice, err := k.check(strings.ToLower(addr), key)
		if notice != "" && k.Notice != nil {
			k.Notice(notice)
		}
		return err
	}
}

// Algorithms are those to ask the host at addr, a host:port, for, so that it
// proves a key that is known; nil where none is. None of them uses SHA-1. What
// cannot be read is an error of Callback's.
func (k *KnownHosts) Algorithms(addr string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return nil
	}
	addr = strings.ToLower(addr)
	algorithms := k.db.known.HostKeyAlgorithms(addr)
	if learnt, ok := k.db.learnt[knownhosts.Normalize(addr)]; ok {
		algorithms = append(algorithms, algorithmsOf(learnt.public)...)
	}
	return slices.DeleteFunc(algorithms, func(algorithm string) bool {
		return algorithm == ssh.KeyAlgoRSA || algorithm == ssh.CertAlgoRSAv01 || strings.HasPrefix(algorithm, "ssh-dss")
	})
}

// check returns a line for Notice when it has learnt the host.
func (k *KnownHosts) check(addr string, key ssh.PublicKey) (notice string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return "", err
	}
	key, err = k.db.plain(addr, key)
	if err != nil {
		return "", err
	}
	if err := checkKind(certified(key)); err != nil {
		return "", untrusted(addr, key, "cannot be trusted: "+err.Error())
	}
	known, err := k.db.check(addr, key)
	if err != nil && k.db.isLearnt(addr) {
		// Once more with the file itself, for the number of the line.
		k.db = nil
		if err := k.refresh(); err != nil {
			return "", err
		}
		known, err = k.db.check(addr, key)
	}
	if known || err != nil {
		return "", err
	}
	if k.Strict {
		return "", k.unknown(addr, key)
	}
	return k.learn(addr, key)
}

// refresh reads the files unless they are as they were.
func (k *KnownHosts) refresh() error {
	now, err := stampAll(k.Files)
	if err != nil {
		return err
	}
	if k.db != nil && slices.Equal(now, k.db.stamps) {
		return nil
	}
	db, err := readHostDB(k.Files, now)
	if err != nil {
		return err
	}
	k.db = db
	return nil
}

// unknown is the error of a host that strict checking meets first.
func (k *KnownHosts) unknown(addr string, key ssh.PublicKey) error {
	where := "a known_hosts file"
	if len(k.Files) > 0 {
		where = k.Files[0]
	}
	return untrusted(addr, key, fmt.Sprintf(
		"is not known, its %s key is %s: compare that with what the host shows, and let --host-key-checking accept-new write it into %s",
		kindName(key), ssh.FingerprintSHA256(key), where))
}

// untrusted is an error about the host at addr; message goes on from its name.
func untrusted(addr string, key ssh.PublicKey, message string) *HostKeyError {
	host := knownhosts.Normalize(addr)
	return &HostKeyError{
		Host: host, Fingerprint: ssh.FingerprintSHA256(key),
		Message: fmt.Sprintf("the host %s %s", host, message),
	}
}
