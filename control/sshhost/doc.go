// Package sshhost reaches the kita server of a host through the host's own
// sshd, as `on ssh://user@host` asks for. cmd/kita calls it.
//
// Dialer.Dial logs in: ~/.ssh/config and /etc/ssh/ssh_config say how, with the
// keys of the ssh-agent and the usual identity files. Host.Reach then finds a
// way to the server there: its unix socket, its port on loopback, `kita proxy`
// run there. A machine that has only supervisor-rs-client is known by
// OnlyOldError.
//
// Invariants: a host whose key is not trusted gets no key offered; nothing that
// ~/.ssh/config says of the way is silently left out (a ProxyCommand is an
// error, never a direct connection); whatever the far end sends is bounded in
// size and time; after Close no goroutine is left.
//
// The server sees the user whom sshd logged in, so the rights are those of the
// login there: over the unix socket those of root or of the server's own user.
package sshhost
