// Package sshchan makes a channel of an SSH connection look like a connection
// of its own, with deadlines: what carries the HTTP API over SSH, at both ends.
//
// Package control uses it for the server, package tunnel for the client.
//
// Invariants: a Conn holds a fixed amount of memory whatever the peer does, a
// deadline ends a Read or Write without harm to later ones, and everything that
// a Conn has started ends once it is closed and the SSH connection below has
// ended, or the peer has closed the channel too.
package sshchan
