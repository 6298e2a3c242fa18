package spec

import (
	"math"
	"strconv"
	"strings"
)

const (
	// leastMemory is below what any program needs to begin; who writes less has
	// forgotten the unit.
	leastMemory = 1 << 20
	// mostProcessors is the most that Linux can be built for (NR_CPUS on
	// x86-64 and arm64); who writes more means seconds.
	mostProcessors = 8192
)

// resourceRules are the limits that hold for all processes of a child together.
// They stand beside those of setrlimit(2), which hold for each process.
func resourceRules() []rule[draft] {
	return []rule[draft]{
		{Key{Name: "memory", Forms: []Form{Scalar}, Kind: KindSize, Least: "1MiB", Words: []string{wordUnlimited}, Example: "memory: 512MiB", Default: "none",
			Doc: "memory of all its processes together", More: "Beyond it the kernel kills a process of the child, and the exit says \"out of memory\""}, readMemory},
		{Key{Name: "cpu", Forms: []Form{Scalar}, Kind: KindProcessors, Words: []string{wordUnlimited}, Example: "cpu: 0.5", Default: "none",
			remedy: "write cpu: 0.5 for half a processor, or cpu_time: {soft: 60, hard: 90} for RLIMIT_CPU in seconds",
			Doc:    "processors for all its processes together", More: "Up to three decimal places. Beyond it the child waits, it is not killed"}, readCPU},
		{Key{Name: "tasks", Forms: []Form{Scalar}, Kind: KindCount, Min: 1, Words: []string{wordUnlimited}, Example: "tasks: 200", Default: "none",
			Doc: "processes and threads, all together", More: "Beyond it fork fails in the child"}, readTasks},
	}
}

func readMemory(v value, d *draft) {
	n := readLimitValue(v, inBytes)
	switch {
	case n == nil:
	case *n == Unlimited:
		d.Resources.Memory = 0
	case *n < leastMemory:
		v.failf("%d bytes are too few for any program, write a unit, as in %s, or unlimited", *n, v.rule.Example)
	default:
		d.Resources.Memory = *n
	}
}

func readTasks(v value, d *draft) {
	n := readLimitValue(v, inCount)
	switch {
	case n == nil:
	case *n == Unlimited:
		d.Resources.Tasks = 0
	case *n == 0:
		v.failf("0 tasks would let nothing start, write %s or unlimited", v.rule.Example)
	default:
		d.Resources.Tasks = *n
	}
}

func readCPU(v value, d *draft) {
	text, ok := v.text()
	if !ok {
		return
	}
	if text == wordUnlimited {
		d.Resources.MilliCPU = 0
		return
	}
	n, ok := thousandths(text)
	switch {
	case !ok:
		v.failf("%s is no number of processors with up to three decimal places, write %s or unlimited", quoted(text), v.rule.Example)
	case n == 0:
		v.failf("%s would let nothing run, write %s or unlimited", quoted(text), v.rule.Example)
	case n > mostProcessors*1000:
		v.failf("%s is more processors than Linux can have, write fewer or unlimited; seconds of processor time are cpu_time", quoted(text))
	default:
		d.Resources.MilliCPU = n
	}
}

// thousandths reads a decimal number without a sign, an exponent or more than
// three decimal places.
func thousandths(text string) (n uint64, ok bool) {
	whole, part, point := strings.Cut(text, ".")
	if point && (part == "" || len(part) > 3) {
		return 0, false
	}
	if whole == "" || strings.Trim(whole+part, "0123456789") != "" {
		return 0, false
	}
	// Digits alone can only be wrong by being too many.
	n, err := strconv.ParseUint(whole+part+strings.Repeat("0", 3-len(part)), 10, 64)
	if err != nil {
		return math.MaxUint64, true
	}
	return n, true
}
