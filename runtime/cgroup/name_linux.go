package cgroup

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

const (
	// basePrefix begins the name of the directory that holds all runs of a
	// server; the server's id follows.
	basePrefix = "kita-"
	// supervisor is the group into which the server itself goes when it must
	// leave its own. It has no dot, so it is never the name of a run.
	supervisor = "supervisor"
	// maxName is NAME_MAX of linux/limits.h.
	maxName = 255
	// escapes begins an escaped byte. spec.ValidName refuses it, and all that
	// needs an escape, so the name of every valid child stands for itself and
	// leaves room for the incarnation.
	escapes = ','
)

// leafName names the group of a run.
func leafName(child string, incarnation uint64) (string, error) {
	if child == "" {
		return "", fmt.Errorf("a run without the name of a child has no cgroup")
	}
	name := escape(child) + "." + strconv.FormatUint(incarnation, 10)
	if len(name) > maxName {
		return "", fmt.Errorf("the name of child %.40q… is too long for a cgroup", child)
	}
	return name, nil
}

// parseLeafName undoes leafName, and refuses what it would not have made.
func parseLeafName(name string) (child string, incarnation uint64, ok bool) {
	escaped, number, found := strings.Cut(name, ".")
	if !found || escaped == "" || len(name) > maxName {
		return "", 0, false
	}
	incarnation, err := strconv.ParseUint(number, 10, 64)
	if err != nil || strconv.FormatUint(incarnation, 10) != number {
		return "", 0, false
	}
	child, ok = unescape(escaped)
	return child, incarnation, ok
}

// mustEscape tells which bytes cannot stand in the name of a group: what parts
// paths and names, what /proc or a line of text would be misread by.
func mustEscape(c byte) bool {
	return c <= ' ' || c == 0x7f || c == '/' || c == '.' || c == escapes
}

func escape(child string) string {
	var b strings.Builder
	for i := range len(child) {
		if c := child[i]; mustEscape(c) {
			fmt.Fprintf(&b, "%c%02x", escapes, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescape(name string) (child string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != escapes {
			if mustEscape(c) {
				return "", false
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(name) {
			return "", false
		}
		digits := name[i+1 : i+3]
		plain, err := hex.DecodeString(digits)
		if err != nil || digits != strings.ToLower(digits) || !mustEscape(plain[0]) {
			return "", false
		}
		b.WriteByte(plain[0])
		i += 2
	}
	return b.String(), true
}

// validID tells whether a server's id can be part of a directory's name.
func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		if !strings.ContainsRune("0123456789abcdef", rune(id[i])) {
			return false
		}
	}
	return true
}

// ParsePath finds whose a process is in the text of its /proc/PID/cgroup: the
// server's id, the child and the incarnation. It holds for a zombie too, and
// where the group was removed. Of a server within a child of another server the
// inner one is told. ok is false where no server put the process.
func ParsePath(procCgroup string) (id, child string, incarnation uint64, ok bool) {
	for line := range strings.Lines(procCgroup) {
		parts := components(line)
		for i := len(parts) - 1; i > 0; i-- {
			id, isBase := strings.CutPrefix(parts[i-1], basePrefix)
			if !isBase || !validID(id) {
				continue
			}
			if child, incarnation, ok = parseLeafName(parts[i]); ok {
				return id, child, incarnation, true
			}
		}
	}
	return "", "", 0, false
}

// inLeaf tells whether the text of a /proc/PID/cgroup puts the process in or
// below a group of that name, in any hierarchy.
func inLeaf(procCgroup, id, name string) bool {
	for line := range strings.Lines(procCgroup) {
		parts := components(line)
		for i := 1; i < len(parts); i++ {
			if parts[i-1] == basePrefix+id && parts[i] == name {
				return true
			}
		}
	}
	return false
}

// components takes apart the path in a line hierarchy:controllers:path, see
// cgroups(7). The kernel marks a removed group, and no escaped name ends so.
func components(line string) []string {
	fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
	if len(fields) < 3 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(fields[2], " (deleted)"), "/")
}
