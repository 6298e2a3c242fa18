package control

import (
	"context"
	"net"
)

// Target says where a server is: exactly one field is set.
type Target struct {
	// Unix is the path of its unix socket.
	Unix string
	// TCP is its host:port.
	TCP string
	// Through opens connections to it in another way, over SSH.
	Through Opener
}

// Opener opens connections to one server, one for each request, although the
// server has ended earlier ones. Its errors are passed on as they are where they
// are *spec.Refusal or *Unreachable, and become the latter else. String is where
// the server is, for people.
type Opener interface {
	Open(ctx context.Context) (net.Conn, error)
	String() string
}

func (t Target) String() string {
	switch {
	case t.Through != nil:
		return t.Through.String()
	case t.Unix != "":
		return t.Unix
	}
	return t.TCP
}

// open connects to the server.
func (t Target) open(ctx context.Context) (net.Conn, error) {
	switch {
	case t.Through != nil:
		return t.Through.Open(ctx)
	case t.Unix != "":
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// It connects at once or not at all: there is no wait to be limited.
		nc, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: t.Unix, Net: "unix"})
		if err != nil {
			return nil, err
		}
		return nc, nil
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	return dialer.DialContext(ctx, "tcp", t.TCP)
}
