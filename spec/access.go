package spec

import (
	"path"
	"slices"
)

// Right is a class of verbs that a key may be given.
type Right string

const (
	// Read: check, info, logs, watch.
	Read Right = "read"
	// Operate: start, stop, restart, trystart. It does not include Read.
	Operate Right = "operate"
	// Admin is everything, also kill, upgrade and validate.
	Admin Right = "admin"
)

// AccessRule gives keys rights over children. Each list is of globs of
// path.Match.
type AccessRule struct {
	Keys     []string `json:"keys"`
	Rights   []Right  `json:"verbs"`
	Children []string `json:"children"`
}

// Access is `access` of server.yml. nil, where there is none, allows every key
// everything; an empty one, and one with no rule for a key, allows nothing.
type Access []AccessRule

// Allows tells whether the key may do to the child what takes the right. A
// child of "" is none in particular: the rule's children do not matter. All is
// every child, so only a rule for "*" will do. No name at all, "", is none that
// a rule could be for.
func (a Access) Allows(key string, right Right, child string) bool {
	if a == nil {
		return true
	}
	if key == "" {
		return false
	}
	for _, rule := range a {
		if rule.grants(right) && matchesAny(rule.Keys, key) && rule.covers(child) {
			return true
		}
	}
	return false
}

// Rights are what the key may do to any child at all, in the order read,
// operate, admin.
func (a Access) Rights(key string) []Right {
	var rights []Right
	for _, right := range []Right{Read, Operate, Admin} {
		if slices.ContainsFunc(a, func(r AccessRule) bool { return slices.Contains(r.Rights, right) && matchesAny(r.Keys, key) }) {
			rights = append(rights, right)
		}
	}
	return rights
}

func (r AccessRule) grants(right Right) bool {
	return slices.Contains(r.Rights, right) || slices.Contains(r.Rights, Admin)
}

func (r AccessRule) covers(child string) bool {
	if child == All {
		return slices.Contains(r.Children, "*")
	}
	return child == "" || matchesAny(r.Children, child)
}

// matchesAny: a glob that is not well formed, which server.yml cannot hold,
// matches nothing.
func matchesAny(globs []string, name string) bool {
	for _, glob := range globs {
		if ok, err := path.Match(glob, name); ok && err == nil {
			return true
		}
	}
	return false
}
