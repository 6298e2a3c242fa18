package controltest

import (
	"slices"

	"kita/spec"
)

// Diff compares the file of each child with its process.
func (s *Service) Diff(names []string) ([]spec.ChildDiff, error) {
	diffs := []spec.ChildDiff{}
	all := slices.Equal(names, []string{spec.All})
	for _, v := range s.List() {
		if !all && !slices.Contains(names, v.Name) {
			continue
		}
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == v.Name })
		d := spec.ChildDiff{Child: v.Name, State: spec.DiffNotRunning, Phase: v.Status.Phase, Differences: []spec.Difference{}}
		if p := v.Status.Process; p == nil {
			d.Command = v.Spec.MaskedCommand()
		} else {
			d.State, d.PID = spec.DiffUnchanged, p.PID
			if spec.Stale(p.Config, v.Spec) {
				d.State = spec.DiffChanged
			}
			d.Differences = append(d.Differences, spec.Diff(p.Config, v.Spec)...)
		}
		diffs = append(diffs, d)
	}
	if !all && len(names) > 0 {
		return nil, spec.Refuse(spec.NotFound, "", names[0], "%s: no such child", names[0])
	}
	return diffs, nil
}
