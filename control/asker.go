package control

import "net"

// How an asker came.
const (
	viaUnix = "unix"
	viaTCP  = "tcp"
	viaSSH  = "ssh"
	// viaOld is a signed packet of supervisor-rs.
	viaOld = "old"
)

// asker is who is at the other end of a connection.
type asker struct {
	// via is viaUnix, viaTCP, viaSSH or viaOld.
	via string
	// peer is the address and port; over the unix socket the user's number.
	peer string
	// key is the name of the public key that the asker proved to own; empty
	// where none was asked for.
	key string
}

// by names the asker as spec.Command does: "unix:0", "tcp:10.0.0.7",
// "ssh:ops@10.0.0.7".
func (a asker) by() string {
	peer := a.peer
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host
	}
	switch {
	case a.key != "":
		return a.via + ":" + a.key + "@" + peer
	case peer == "":
		return a.via
	}
	return a.via + ":" + peer
}
