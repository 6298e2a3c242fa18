// Package sshd serves SSH on one connection at a time: no shell and no
// forwarding, only command lines and the subsystem "kita", which is the HTTP
// API in a channel.
//
// Package control calls it for the connections whose first bytes are SSH's, and
// says through Admit and Guest who may come in and what they get.
//
// Invariants: who a client is comes from the permissions of its own connection,
// never from what was asked on the way; a client that is not authenticated holds
// a fixed amount of memory for a fixed time, and gets the same answers whatever
// key it has; everything that Serve began has ended when it returns, but for what
// package ssh ends a moment later; a panic of a Guest ends its channel and nothing
// else.
package sshd
