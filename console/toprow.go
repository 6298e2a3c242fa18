package console

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"kita/spec"
)

// samples is how many a sparkline shows.
const samples = 10

// child is a row of top.
type child struct {
	key  childKey
	view spec.View
	// last is what it used when it was last asked; nil where that is not known.
	last *spec.ChildUsage
	// cpu are percents of a processor, memory bytes, the latest last.
	cpu, memory []float64
}

// take notes a usage. A new run begins from nothing.
func (c *child) take(u spec.ChildUsage) {
	if p := c.view.Status.Process; p == nil || p.Incarnation != u.Incarnation {
		return
	}
	before := c.last
	if before != nil && before.Incarnation != u.Incarnation {
		before, c.cpu, c.memory = nil, nil, nil
	}
	if before != nil {
		passed := u.SampledAt.Sub(before.SampledAt).Seconds()
		if passed <= 0 {
			return
		}
		// Without a cgroup the time can go back, when a process has ended.
		c.cpu = sampled(c.cpu, max(u.CPUSeconds-before.CPUSeconds, 0)/passed*100)
	}
	c.memory = sampled(c.memory, float64(u.MemoryBytes))
	c.last = &u
}

// present takes the view of now.
func (c *child) present(v spec.View) {
	c.view = v
	if p := v.Status.Process; p == nil || c.last != nil && p.Incarnation != c.last.Incarnation {
		c.last, c.cpu, c.memory = nil, nil, nil
	}
}

func sampled(list []float64, value float64) []float64 {
	if len(list) == samples {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, value)
}

// latest is the last of a list; false where there is none.
func latest(list []float64) (float64, bool) {
	if len(list) == 0 {
		return 0, false
	}
	return list[len(list)-1], true
}

// number is the latest of a list for comparing: what is not known is the least.
func number(list []float64) float64 {
	value, ok := latest(list)
	if !ok {
		return -1
	}
	return value
}

// percent is a share of a processor: 3.1, 250.
func percent(list []float64) string {
	value, ok := latest(list)
	switch {
	case !ok:
		return nothing
	case value < 99.95:
		return strconv.FormatFloat(value, 'f', 1, 64)
	}
	return strconv.FormatFloat(value, 'f', 0, 64)
}

const nothing = "-"

// spark draws values as bars, the highest of which stands for most; as many
// columns as samples.
func (w *Words) spark(values []float64, most float64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	if !w.UTF8 {
		bars = []rune("_.-=+*#@")
	}
	var b strings.Builder
	b.WriteString(blanks(samples - len(values)))
	for _, v := range values {
		at := 0
		if most > 0 {
			at = int(math.Round(v / most * float64(len(bars)-1)))
		}
		b.WriteRune(bars[min(max(at, 0), len(bars)-1)])
	}
	return b.String()
}

// cpuSpark goes up to a whole processor, or to the most there was if that is more.
func (w *Words) cpuSpark(c *child) string { return w.spark(c.cpu, max(highest(c.cpu), 100)) }

// memorySpark shows how memory has changed: its foot is half of the most.
func (w *Words) memorySpark(c *child) string {
	most := highest(c.memory)
	over := make([]float64, len(c.memory))
	for i, v := range c.memory {
		over[i] = max(v-most/2, 0)
	}
	return w.spark(over, most/2)
}

func highest(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	return slices.Max(list)
}
