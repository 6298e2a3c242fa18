package fleet

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"kita/spec"
)

// mostErrors bounds what one file can report.
const mostErrors = 100

func (d *draft) failf(at spec.Setting, format string, args ...any) {
	if len(d.errs) == mostErrors {
		return
	}
	d.errs = append(d.errs, spec.FileError{File: d.file, Line: at.Line, Key: withoutPassword(at.Key), Message: fmt.Sprintf(format, args...)})
}

// err is nil, or everything that was found, in the order of the lines.
func (d *draft) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(d.errs, func(a, b spec.FileError) int { return cmp.Compare(a.Line, b.Line) })
	return d.errs
}

func wellFormed(pattern string) bool {
	_, err := path.Match(pattern, "")
	return err == nil
}

// addGroup takes a group without looking at its members.
func (d *draft) addGroup(g spec.HostGroup) {
	name := g.Name.Text
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r != '.' && !isNameRune(r) }) {
		d.failf(g.Name, "%q is no name of a group, which has letters, digits, - _ and . only", name)
		return
	}
	members := make([]string, len(g.Members))
	for i, m := range g.Members {
		members[i] = m.Text
	}
	d.byGroup[name] = len(d.groups)
	d.groups = append(d.groups, group{name, members})
}

// checkMembers finds members that mean nothing.
func (d *draft) checkMembers(g spec.HostGroup) {
	for _, m := range g.Members {
		name, isGroup := strings.CutPrefix(m.Text, "@")
		switch {
		case strings.ContainsFunc(m.Text, isSeparator):
			d.failf(m, "%q is more than one member, write each as an item of its own", withoutPassword(m.Text))
		case isGroup && !wellFormed(name), isPattern(m.Text) && !wellFormed(m.Text):
			d.failf(m, "%q is no pattern: a [ has no ], write web-* or web[1-9]", withoutPassword(m.Text))
		case isGroup && len(d.groupsNamed(name)) == 0:
			d.failf(m, "%q: no such group is in this file, write one of its own or leave it out", m.Text)
		case isGroup:
		case isPattern(m.Text) && len(d.hostsNamed(m.Text)) == 0:
			d.failf(m, "%q: no host under hosts fits, write one that does or leave it out", m.Text)
		case isPattern(m.Text):
		default:
			if _, err := d.host(m.Text); err != nil {
				d.failf(m, "host %q: %v", withoutPassword(m.Text), err)
			}
		}
	}
}

// checkCircles finds groups that contain themselves.
func (d *draft) checkCircles(source []spec.HostGroup) {
	const (
		onTheWay = 1
		done     = 2
	)
	seen := map[string]int{}
	var way []string
	var visit func(g group) (circle []string)
	visit = func(g group) []string {
		switch seen[g.name] {
		case done:
			return nil
		case onTheWay:
			return append(slices.Clone(way[slices.Index(way, "@"+g.name):]), "@"+g.name)
		}
		seen[g.name] = onTheWay
		way = append(way, "@"+g.name)
		for _, inner := range d.inner(g) {
			if circle := visit(inner); circle != nil {
				return circle
			}
		}
		way = way[:len(way)-1]
		seen[g.name] = done
		return nil
	}
	for _, g := range d.groups {
		if circle := visit(g); circle != nil {
			at := d.byGroup[strings.TrimPrefix(circle[0], "@")]
			if len(circle) > mostListed {
				circle = append(circle[:mostListed-1], "…")
			}
			d.failf(source[at].Name, "contains itself: %s; leave one of them out", strings.Join(circle, ", "))
			return
		}
	}
}
