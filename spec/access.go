package spec

import "path"

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
// every child, so only a rule for "*" will do.
func (a Access) Allows(key string, right Right, child string) bool {
	if a == nil {
		return true
	}
	for _, rule := range a {
		if rule.grants(right) && matchesAny(rule.Keys, key) && rule.covers(child) {
			return true
		}
	}
	return false
}

func (r AccessRule) grants(right Right) bool {
	for _, granted := range r.Rights {
		if granted == right || granted == Admin {
			return true
		}
	}
	return false
}

func (r AccessRule) covers(child string) bool {
	if child == All {
		for _, glob := range r.Children {
			if glob == "*" {
				return true
			}
		}
		return false
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
