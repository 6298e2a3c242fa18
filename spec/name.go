package spec

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNameLength leaves room for what is put around a name in the names of
// state files and cgroups, 255 bytes at most.
const maxNameLength = 200

// ValidName tells why name cannot be a child's; nil if it can.
func ValidName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name of a child is empty")
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %s is not UTF-8", quoted(name))
	case len(name) > maxNameLength:
		return fmt.Errorf("the name %s has more than %d bytes", quoted(name), maxNameLength)
	case Reserved(name):
		return fmt.Errorf("%q is reserved and cannot be the name of a child", name)
	}
	for _, r := range name {
		// A child's name ends at the first dot of its file's name; the others
		// separate things on a command line, on the old wire or in a path.
		if strings.ContainsRune(".,;/", r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			return fmt.Errorf("the name %s has a %q, which the name of a child cannot have", quoted(name), r)
		}
	}
	return nil
}

// NameOf returns the name of the child that a file in a load path holds: the
// file's name up to its first dot. ok is false where it holds none, because it
// is hidden or not .yml or .yaml. The name need not be valid.
func NameOf(fileName string) (name string, ok bool) {
	switch filepath.Ext(fileName) {
	case ".yml", ".yaml":
		name, _, _ = strings.Cut(fileName, ".")
		return name, name != ""
	}
	return "", false
}
