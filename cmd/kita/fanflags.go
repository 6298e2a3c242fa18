package main

import (
	"syscall"

	"github.com/spf13/cobra"

	"kita/control/fleet"
)

// fanFlags are about how many hosts are asked at once.
type fanFlags struct {
	parallel       int
	serial         bool
	maxUnavailable int
	// given tells whether a flag is on the command line; nil: none is.
	given func(name string) bool
}

// The names of the flags that exclude each other.
const (
	parallelFlag       = "parallel"
	serialFlag         = "serial"
	maxUnavailableFlag = "max-unavailable"
)

func (f *flags) registerFan(c *cobra.Command) {
	set := c.Flags()
	f.fan.parallel = fleet.DefaultParallel
	set.Var(countValue{&f.fan.parallel}, parallelFlag, "`N` hosts are asked at once")
	set.StringVar(&f.hostsFile, hostsFileFlag, "", "`FILE` with hosts and groups (default kita/hosts.yml in your configuration directory)")
	_ = c.RegisterFlagCompletionFunc("on", f.completeHosts)
	_ = c.RegisterFlagCompletionFunc(parallelFlag, cobra.NoFileCompletions)
	f.fan.given = set.Changed
}

// registerRolling is for commands that make a server or its children
// unavailable for a moment.
func (f *flags) registerRolling(c *cobra.Command) {
	set := c.Flags()
	set.BoolVar(&f.fan.serial, serialFlag, false, "one host after the other, up to the first that fails; like --max-unavailable 1")
	set.Var(countValue{&f.fan.maxUnavailable}, maxUnavailableFlag, "at most `N` hosts at a time, in their order, up to the first that fails")
	_ = c.RegisterFlagCompletionFunc(maxUnavailableFlag, cobra.NoFileCompletions)
}

// apply checks the flags and notes what they come to.
func (f fanFlags) apply(r *request) error {
	given := func(name string) bool { return f.given != nil && f.given(name) }
	rolling := ""
	switch {
	case given(serialFlag) && f.serial && given(maxUnavailableFlag):
		return usagef("--serial is --max-unavailable 1, give one of them")
	case given(parallelFlag) && f.parallel < 1:
		return usagef("--parallel %d: at least one host must be asked at a time", f.parallel)
	case given(maxUnavailableFlag) && f.maxUnavailable < 1:
		return usagef("--max-unavailable %d: at least one host must be asked at a time", f.maxUnavailable)
	case given(maxUnavailableFlag):
		rolling, r.parallel = maxUnavailableFlag, f.maxUnavailable
	case f.serial:
		rolling, r.parallel = serialFlag, 1
	default:
		r.parallel = f.parallel
		return nil
	}
	switch {
	case given(parallelFlag):
		return usagef("--%s says how many hosts are asked at once, it cannot be combined with --parallel", rolling)
	case r.noWait:
		return usagef("--%s waits for each host, it cannot be combined with --no-wait", rolling)
	}
	r.rolling = true
	return nil
}

// filesPerHost is what asking one host takes at most: its connection and, over
// SSH, that of a host between, of the agent and the files of keys.
const filesPerHost = 4

// limits are those of asking r's hosts.
func (r request) limits() fleet.Limits {
	limits := fleet.Limits{Parallel: r.parallel, Timeout: r.timeout, StopAtFailure: r.rolling}
	if limits.Parallel <= 0 {
		limits.Parallel = fleet.DefaultParallel
	}
	// The Go runtime has raised the limit of open files as far as it may.
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		most := max((int64(min(files.Cur, 1<<20))-32)/filesPerHost, 1)
		limits.Parallel = min(limits.Parallel, int(most))
	}
	return limits
}
