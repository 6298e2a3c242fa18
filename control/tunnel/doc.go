// Package tunnel connects a client to a kita server that is asked with a key:
// over SSH on the server's own port, each request in a channel of its own.
//
// cmd/kita calls it, and gives what Dial returns to a control.Client. Which
// private key is used and which servers are known is the caller's: see package
// keyring.
//
// Invariants: nothing is sent before the server has proved the key that is
// known for it; nothing is ever sent in plain text; no SHA-1 is used for
// anything; whatever Dial and Open begin ends with their context or with Close.
package tunnel
