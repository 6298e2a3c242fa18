// Package control is the wire: what a client says to a kita server and what
// the server answers.
//
// On the server's side, Server serves listeners. The first bytes of a
// connection decide whether it speaks HTTP (the JSON API of openapi.yaml), SSH
// (package sshd: the same API in channels, and command lines) or the text
// protocol of supervisor-rs (package legacy). The gate says what each asker may
// do, by the keys of package keyring, and writes package audit's log.
// Everything that changes or reads a child goes through Service, which cmd/kita
// wires to the reconciler; this package keeps no state of children.
//
// On the client's side, Client speaks the HTTP API over the unix socket, TCP or
// what packages tunnel and sshhost open, ParseWords reads the command line both
// clients share, and package fleet knows host names and asks many at once.
//
// A server that is replaced hands its connections over: HandOver ends one and
// returns them as descriptors and data, Resume of the next goes on with them.
// Those of SSH, and streams of logs, end instead: Client goes on with the latter.
//
// Invariants: a gate is asked before anything is done for anybody; a key counts
// as long as its file lies where it was found; no input makes the server panic,
// block without a deadline or hold more than a fixed amount of memory; a reader
// that is slow or gone costs nothing but its own connection; a browser cannot
// drive the API; the unix socket answers although TCP is flooded.
package control
