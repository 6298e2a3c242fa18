// Package spec holds kita's inert data: what a server and its children are
// configured to be (Server, Child), what is wanted of a child (Desired), what
// is known of it (Status, Identity, Exit), and what is asked of the server
// (Command, Outcome, Refusal).
//
// It parses, defaults, validates and hashes configuration files, and keeps the
// catalogue of the load paths. It starts nothing and talks to nobody; every
// other package imports it and it imports none of them.
package spec
