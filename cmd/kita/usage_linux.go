package main

import (
	"slices"
	"strings"

	"kita/spec"
)

// Usage reads what the children of these names use, nil for all.
func (s service) Usage(names []string) []spec.ChildUsage {
	if names == nil {
		return s.s.host.ChildUsage(s.List())
	}
	views := make([]spec.View, 0, len(names))
	for _, name := range names {
		if v, known := s.Get(name); known {
			views = append(views, v)
		}
	}
	slices.SortFunc(views, func(a, b spec.View) int { return strings.Compare(a.Name, b.Name) })
	return s.s.host.ChildUsage(views)
}
