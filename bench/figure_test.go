//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestAFigureIsJudgedByItsPairs(t *testing.T) {
	// The machine was ten times slower in the second round: the ratio is not.
	f := figure{name: "start", n: 1000, unit: "ms", kita: []float64{2, 20, 3}, floor: []float64{1, 10, 2}, goal: times(1.3)}
	r := f.result()
	if r.Ratio != 2 || r.Kita.Value != 3 || r.Floor.Value != 2 || *r.Met {
		t.Errorf("%+v", r)
	}
	if text := r.String(); !strings.HasSuffix(text, "3 ms (2–20), floor 2 ms (1–10), ratio 2, goal ≤ 1.30 x: not met") {
		t.Error(text)
	}
	f.goal = under(3)
	if r := f.result(); !*r.Met || r.Goal != "≤ 3 ms" {
		t.Errorf("%+v", r)
	}
	f = figure{name: "idle", kita: []float64{0}, goal: under(0)}
	if r := f.result(); !*r.Met || r.Floor != nil {
		t.Errorf("%+v", r)
	}
}

func TestTheSmokeTestAllowsWhatIsWithinItsLimits(t *testing.T) {
	ratio := figure{name: "start", kita: []float64{4}, floor: []float64{1}, goal: times(2)}
	count := figure{name: "threads", kita: []float64{4}, goal: under(2)}
	none := figure{name: "idle", kita: []float64{0}, goal: under(0)}
	time := figure{name: "adopt", kita: []float64{400}, floor: []float64{100}, goal: under(1)}
	for _, tt := range []struct {
		figure figure
		limit  limit
		worst  float64 // that it allows
	}{
		{ratio, limit{goals: 2}, 4},
		{count, limit{goals: 2}, 4},
		{none, limit{goals: 2}, 0},
		{time, limit{ratio: 4}, 400},
	} {
		f := tt.figure
		if f.kita[0] = tt.worst; !tt.limit.allows(f.result()) {
			t.Errorf("%s: %v is more than %v", f.name, tt.worst, tt.limit)
		}
		if f.kita[0] = tt.worst + 1; tt.limit.allows(f.result()) {
			t.Errorf("%s: %v is not more than %v", f.name, tt.worst+1, tt.limit)
		}
	}
}

func TestPercentiles(t *testing.T) {
	var values []float64
	for i := range 200 {
		values = append(values, float64(200-i))
	}
	if got := p99(values); got != 199 {
		t.Errorf("p99 of 1 to 200 is %v", got)
	}
	if got := median(values); got != 101 {
		t.Errorf("the median of 1 to 200 is %v", got)
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 0.051: "0.05", 1.3: "1.30", 2: "2", 12.34: "12.3", 123.4: "123", 12345.6: "12346"} {
		if got := number(value); got != want {
			t.Errorf("%v is shown as %s, want %s", value, got, want)
		}
	}
}

func TestSizesGoUpToTheMost(t *testing.T) {
	for most, want := range map[int]int{5: 1, 10: 1, 300: 3, 1000: 3, 10000: 4} {
		got := sizes(most)
		if len(got) != want || got[len(got)-1] != most {
			t.Errorf("up to %d: %v", most, got)
		}
	}
}
