package keyring

import (
	"errors"
	"net"

	"golang.org/x/crypto/ssh"
)

// KnownHosts says which servers are who they say. Its methods may be called
// from many goroutines at once; files are appended to whole lines at a time, so
// several programs may share one.
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
// that a file cannot be read or written.
func (k *KnownHosts) Callback() ssh.HostKeyCallback {
	return func(string, net.Addr, ssh.PublicKey) error { return errors.New("not built yet") }
}

// Algorithms are those to ask the host at addr, a host:port, for, so that it
// proves a key that is known; nil where none is.
func (k *KnownHosts) Algorithms(addr string) []string { return nil }
