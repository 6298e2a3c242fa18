//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pss is the proportional set size of processes, in bytes.
func pss(pids ...int) (float64, error) {
	var sum float64
	for _, pid := range pids {
		kb, err := keyed(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")
		if err != nil {
			return 0, err
		}
		sum += kb * 1024
	}
	return sum, nil
}

// threadsOf counts the threads of processes.
func threadsOf(pids []int) (float64, error) {
	var sum float64
	for _, pid := range pids {
		n, err := keyed(fmt.Sprintf("/proc/%d/status", pid), "Threads")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// switches counts how often threads of processes were switched to so far: each
// of their wake-ups, and each time they lost the processor.
func switches(pids []int) (float64, error) {
	var sum float64
	for _, pid := range pids {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			for _, key := range []string{"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"} {
				n, err := keyed(file, key)
				if err != nil {
					return 0, err
				}
				sum += n
			}
		}
	}
	return sum, nil
}

// ticks is the processor time that processes have used: fields 14 and 15 of
// /proc/PID/stat, in clock ticks of 10 ms.
func ticks(pids []int) (float64, error) {
	var sum float64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, field := range fields[11:13] {
			n, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}

// keyed reads the number after "key:" in a file of /proc.
func keyed(file, key string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			var n float64
			_, err := fmt.Sscan(rest, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, key)
}
