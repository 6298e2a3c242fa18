package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// Unreachable is the error of a server that did not answer.
type Unreachable struct {
	// Host is the address or the socket's path.
	Host string
	Err  error
}

func (u *Unreachable) Unwrap() error { return u.Err }

// Error is one line for people.
func (u *Unreachable) Error() string {
	var (
		op      *net.OpError
		dns     *net.DNSError
		network net.Error
	)
	isSocket := errors.As(u.Err, &op) && op.Net == "unix"
	switch {
	case isSocket && (errors.Is(u.Err, fs.ErrNotExist) || errors.Is(u.Err, syscall.ECONNREFUSED)):
		return fmt.Sprintf("no server answers on %s, is kita serve running?", u.Host)
	case errors.Is(u.Err, fs.ErrPermission):
		return fmt.Sprintf("no permission to use %s: only root and the user who runs kita serve may", u.Host)
	case errors.Is(u.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens on %s, is kita serve running there?", u.Host)
	case errors.As(u.Err, &dns) && !dns.IsTimeout:
		return fmt.Sprintf("the host of %s is not known", u.Host)
	case errors.Is(u.Err, os.ErrDeadlineExceeded), errors.As(u.Err, &network) && network.Timeout():
		return fmt.Sprintf("%s did not answer in time", u.Host)
	case errors.Is(u.Err, errSilent):
		return fmt.Sprintf("%s says nothing any more", u.Host)
	case errors.Is(u.Err, errCut):
		return fmt.Sprintf("%s ended the stream before all was said", u.Host)
	case errors.Is(u.Err, io.EOF), errors.Is(u.Err, io.ErrUnexpectedEOF), errors.Is(u.Err, syscall.ECONNRESET):
		return fmt.Sprintf("%s closed the connection before it had answered", u.Host)
	}
	return fmt.Sprintf("cannot reach %s: %v", u.Host, u.Err)
}

// NotHTTP is the error of a server that answered, but not as kita does.
type NotHTTP struct {
	Target Target
	Reason string
	// OldServer: what it said may be the text protocol of supervisor-rs.
	OldServer bool
}

// Error is one line for people.
func (n *NotHTTP) Error() string {
	if !n.OldServer {
		return fmt.Sprintf("%s is no kita server: %s", n.Target, n.Reason)
	}
	return fmt.Sprintf("%s does not speak HTTP, it may be a server of supervisor-rs (%s): ask it with --legacy", n.Target, n.Reason)
}

// clientConn fails a connection whose peer does not begin as an HTTP server
// must, and keeps what it said: an old server answers plain text to anything.
type clientConn struct {
	net.Conn
	// why tells whether the context of the request ended, which ends the connection.
	why func() error
	// stop leaves the connection open when ctx ends.
	stop func() bool
	// in reads from head, which is limited while there is no answer.
	in   *bufio.Reader
	head *io.LimitedReader
	// first are the first bytes, until there are enough of them.
	first []byte
}

const statusLine = "HTTP/"

func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if missing := len(statusLine) - len(c.first); missing > 0 && n > 0 {
		c.first = append(c.first, p[:min(n, missing)]...)
		if !strings.HasPrefix(statusLine, string(c.first)) {
			said := string(c.first) + string(p[min(n, missing):min(n, 200)])
			return 0, &otherProtocol{said: said}
		}
	}
	return n, err
}

// otherProtocol is the error of reading anything but HTTP.
type otherProtocol struct{ said string }

func (o *otherProtocol) Error() string { return o.describe() }

func (o *otherProtocol) isSSH() bool { return strings.HasPrefix(o.said, sshBanner) }

func (o *otherProtocol) describe() string {
	if o.isSSH() {
		return "it speaks SSH"
	}
	line, _, _ := strings.Cut(o.said, "\n")
	return fmt.Sprintf("it says %q", line)
}
