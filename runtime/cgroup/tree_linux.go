package cgroup

import (
	"log/slog"

	"kita/spec"
)

// Options say whose groups a Tree holds.
type Options struct {
	// ID is the server's id, in hexadecimal.
	ID string
	// Logger may be nil.
	Logger *slog.Logger
	// Self are the processes besides this one that belong to the server, such
	// as its keeper.
	Self []int
}

// Kind is what holds the processes of a run together.
type Kind string

const (
	V2   Kind = "cgroup2"
	V1   Kind = "cgroup1"
	None Kind = "none"
)

// Tree holds the groups of one server.
type Tree struct{ options Options }

// Open finds out what the machine offers. It never fails.
func Open(o Options) *Tree { return &Tree{options: o} }

// Kind says what holds the processes together.
func (t *Tree) Kind() Kind { return None }

// String is one line for people.
func (t *Tree) String() string { return "none: not looked for yet" }

// Make makes the group of a run.
func (t *Tree) Make(child string, incarnation uint64, want spec.Resources) (l *Leaf, warnings []string, err error) {
	return nil, nil, nil
}

// Leaf returns the group of a former server, by its Path.
func (t *Tree) Leaf(path string) *Leaf { return nil }

// Leaves returns all groups of this server's id.
func (t *Tree) Leaves() ([]*Leaf, error) { return nil, nil }

// Tidy removes empty groups that keep refuses.
func (t *Tree) Tidy(keep func(child string, incarnation uint64) bool) {}

// Close gives back what the Tree holds.
func (t *Tree) Close() {}
