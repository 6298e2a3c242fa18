package main

import (
	"testing"
	"time"

	"kita/spec"
)

// Time that passes is no change; another process, phase or exit is one.
func TestWhatCountsAsAChangeOfARow(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	soon, later := now.Add(time.Minute), now.Add(time.Hour)
	view := func(change func(*spec.View)) *spec.View {
		v := &spec.View{Name: "web", Status: spec.Status{
			Phase:    spec.PhaseRunning,
			Process:  &spec.Process{PID: 7, Incarnation: 2, StartedAt: now.Add(-time.Hour)},
			LastExit: &spec.Exit{Incarnation: 1, Known: true, Code: 1, At: now.Add(-time.Hour)},
			RepeatAt: &soon,
		}}
		change(v)
		return v
	}
	keys := func(v *spec.View, at time.Time, wide bool) (all []string) {
		for _, c := range consoleRow(v, at, wide) {
			if c.Key == "" {
				c.Key = c.Text
			}
			all = append(all, c.Key)
		}
		return all
	}
	tests := []struct {
		name    string
		change  func(*spec.View)
		at      time.Time
		wide    bool
		columns []int
	}{
		{"nothing", func(*spec.View) {}, now, false, nil},
		{"time", func(*spec.View) {}, later, false, nil},
		{"time, wide", func(*spec.View) {}, later, true, nil},
		{"phase", func(v *spec.View) { v.Status.Phase = spec.PhaseStopping }, later, false, []int{1}},
		{"process", func(v *spec.View) { v.Status.Process.PID = 8 }, now, false, []int{2}},
		{"restarts", func(v *spec.View) { v.Status.Restarts++ }, now, false, []int{4}},
		{"the same exit of another run", func(v *spec.View) { v.Status.LastExit.Incarnation = 2 }, now, false, []int{5}},
		{"reason", func(v *spec.View) { v.Status.Reason = "why" }, now, false, []int{6}},
		{"repeat", func(v *spec.View) { v.Status.RepeatAt = &later }, now, true, []int{8}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, after := keys(view(func(*spec.View) {}), now, tt.wide), keys(view(tt.change), tt.at, tt.wide)
			var changed []int
			for i := range before {
				if before[i] != after[i] {
					changed = append(changed, i)
				}
			}
			if len(changed) != len(tt.columns) || len(changed) > 0 && changed[0] != tt.columns[0] {
				t.Errorf("columns %v of %q have changed, want %v", changed, after, tt.columns)
			}
		})
	}
}
