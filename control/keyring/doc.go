// Package keyring has the keys of both ends: the public keys that a server
// admits (Ring) and the key that it proves itself with (HostKey), the private
// key of a user (Private) and the servers that the user knows (KnownHosts).
//
// Package control calls the server's half, cmd/kita and package tunnel the
// client's. Nothing here speaks to the network but for the agent's socket.
//
// Invariants: RSA below 2,048 bits is never used, on neither side; a key that
// cannot be read is an error that says which file and what to do, never a
// weaker way to go on; every error that a peer may see says nothing of which
// keys exist.
package keyring
