//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// figure is one line of the table: what was measured of kita, and, in the same
// rounds, of its floor.
type figure struct {
	name string
	n    int // children, or servers; 0 where the number means nothing
	unit string
	// kita and floor are the measured values. Those of one index are a pair; floor
	// may be empty.
	kita, floor []float64
	// pick makes one number of many: the median without it.
	pick func([]float64) float64
	goal goal
	note string
}

// goal is what a figure should be at most; the zero value is none.
type goal struct {
	ratio  float64 // of kita to the floor
	atMost float64 // of kita, in the unit of the figure, where absolute is set
	// absolute: the goal is a value and no ratio.
	absolute bool
}

func (g goal) isNone() bool { return g.ratio == 0 && !g.absolute }

func times(ratio float64) goal { return goal{ratio: ratio} }
func under(value float64) goal { return goal{atMost: value, absolute: true} }

// summary is what is shown of a list of values.
type summary struct {
	Value float64 `json:"value"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Count int     `json:"count"`
}

func summarize(values []float64, pick func([]float64) float64) *summary {
	if len(values) == 0 {
		return nil
	}
	return &summary{Value: pick(values), Min: slices.Min(values), Max: slices.Max(values), Count: len(values)}
}

// result is a figure as it is shown and written.
type result struct {
	Name  string   `json:"name"`
	N     int      `json:"n,omitempty"`
	Unit  string   `json:"unit"`
	Kita  *summary `json:"kita"`
	Floor *summary `json:"floor,omitempty"`
	// Ratio is the median of the ratios of the pairs; of what is no median, the
	// ratio of the two.
	Ratio float64 `json:"ratio,omitempty"`
	Goal  string  `json:"goal,omitempty"`
	Met   *bool   `json:"met,omitempty"`
	Note  string  `json:"note,omitempty"`
	// bound is the number of the goal; relative tells what it is a bound of.
	bound    float64
	relative bool
}

// measure is what the goal is about: the ratio or the value.
func (r result) measure() float64 {
	if r.relative {
		return r.Ratio
	}
	return r.Kita.Value
}

func (f figure) result() result {
	pick := f.pick
	if pick == nil {
		pick = median
	}
	r := result{Name: f.name, N: f.n, Unit: f.unit, Note: f.note,
		Kita: summarize(f.kita, pick), Floor: summarize(f.floor, pick)}
	if r.Floor != nil {
		r.Ratio = f.ratio()
	}
	if f.goal.isNone() {
		return r
	}
	r.relative, r.bound = !f.goal.absolute, f.goal.ratio
	r.Goal = fmt.Sprintf("≤ %s x", number(f.goal.ratio))
	if f.goal.absolute {
		r.bound = f.goal.atMost
		r.Goal = fmt.Sprintf("≤ %s %s", number(f.goal.atMost), f.unit)
	}
	met := r.measure() <= r.bound
	r.Met = &met
	return r
}

func (f figure) ratio() float64 {
	if f.pick != nil || len(f.kita) != len(f.floor) {
		pick := f.pick
		if pick == nil {
			pick = median
		}
		return pick(f.kita) / pick(f.floor)
	}
	ratios := make([]float64, len(f.kita))
	for i := range f.kita {
		ratios[i] = f.kita[i] / f.floor[i]
	}
	return median(ratios)
}

// median is the middle of the values, the upper one of two.
func median(values []float64) float64 { return quantile(values, 0.5) }

// p99 is what 99 of a hundred values do not exceed.
func p99(values []float64) float64 { return quantile(values, 0.99) }

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

// ms is a duration in milliseconds.
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// number shows three digits, or all before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e6, a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
