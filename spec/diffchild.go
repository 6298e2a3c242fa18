package spec

import (
	"fmt"
	"slices"
	"strconv"
)

// children compares every field of a Child. The class of each says what package
// plan and the runtime do with it: what they take from the file as it is now is
// live, what they took when the process was started is not. A test fails when a
// field is forgotten here.
func (c *comparison) children(before, now *Child) {
	c.words("command", DiffRestart, before.Command, now.Command)
	scalar(c, "dir", DiffRestart, before.Dir, now.Dir, itself)
	c.variables(before.Env, now.Env)
	scalar(c, "env_file", DiffRestart, before.EnvFile, now.EnvFile, itself)
	c.stream("output.stdout", before.Stdout, now.Stdout)
	c.stream("output.stderr", before.Stderr, now.Stderr)
	scalar(c, "user", DiffRestart, before.User, now.User, itself)
	scalar(c, "group", DiffRestart, before.Group, now.Group, itself)
	pointed(c, "umask", DiffRestart, before.Umask, now.Umask, func(m uint32) string { return fmt.Sprintf("%03o", m) })
	pointed(c, "nice", DiffRestart, before.Nice, now.Nice, strconv.Itoa)
	scalar(c, "limits.memory", DiffRestart, before.Resources.Memory, now.Resources.Memory, bytesText)
	scalar(c, "limits.cpu", DiffRestart, before.Resources.MilliCPU, now.Resources.MilliCPU, processorsText)
	scalar(c, "limits.tasks", DiffRestart, before.Resources.Tasks, now.Resources.Tasks, countText)
	c.limits(before.Limits, now.Limits)
	scalar(c, "stop.signal", DiffLive, before.Stop.Signal, now.Stop.Signal, Signal.String)
	scalar(c, "stop.grace", DiffLive, before.Stop.Grace, now.Stop.Grace, Duration.String)
	c.restart(&before.Restart, &now.Restart)
	// It is armed at a start.
	pointed(c, "repeat", DiffNextStart, before.Repeat, now.Repeat, func(r Repeat) string {
		return string(r.Action) + " after " + r.Every.String()
	})
	pointed(c, "hooks.prehook", DiffNextStart, before.Prehook, now.Prehook, Hook.String)
	pointed(c, "hooks.posthook", DiffLive, before.Posthook, now.Posthook, Hook.String)
	pointed(c, "metrics", DiffLive, before.Metrics, now.Metrics, func(m Metrics) string {
		return "port " + strconv.Itoa(m.Port) + ", path " + m.Path
	})
}

// restart compares what is looked at when a run has ended.
func (c *comparison) restart(before, now *Restart) {
	scalar(c, "restart.policy", DiffLive, before.Policy, now.Policy, func(p Policy) string { return string(p) })
	scalar(c, "restart.backoff.initial", DiffLive, before.Backoff.Initial, now.Backoff.Initial, Duration.String)
	scalar(c, "restart.backoff.max", DiffLive, before.Backoff.Max, now.Backoff.Max, Duration.String)
	scalar(c, "restart.backoff.factor", DiffLive, before.Backoff.Factor, now.Backoff.Factor,
		func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) })
	scalar(c, "restart.limit", DiffLive, before.Limit, now.Limit, func(l StartLimit) string {
		if l.Starts == 0 {
			return ""
		}
		return fmt.Sprintf("%d within %v", l.Starts, l.Within)
	})
	if !slices.Equal(before.Success, now.Success) {
		c.differ("restart.success", DiffLive, joined(before.Success, endText), joined(now.Success, endText))
	}
}

// stream compares where an output goes. That of a stream which only one of them
// has is told by its path.
func (c *comparison) stream(field string, before, now *Stream) {
	if before == nil || now == nil {
		pointed(c, field, DiffRestart, pathOf(before), pathOf(now), itself)
		return
	}
	scalar(c, field, DiffRestart, before.Path, now.Path, itself)
	// It is looked at when the file is opened.
	scalar(c, field+".mode", DiffNextStart, before.Mode, now.Mode, func(m OpenMode) string { return string(m) })
	scalar(c, field+".format", DiffRestart, before.Format, now.Format, func(f Format) string { return string(f) })
	scalar(c, field+".timestamps", DiffRestart, before.Timestamps, now.Timestamps, strconv.FormatBool)
	scalar(c, field+".prefix", DiffRestart, before.Prefix, now.Prefix, strconv.FormatBool)
	scalar(c, field+".on_full", DiffRestart, before.OnFull, now.OnFull, func(f OnFull) string { return string(f) })
	c.rotation(field+".rotate", before.Rotate, now.Rotate)
}

func pathOf(s *Stream) *string {
	if s == nil {
		return nil
	}
	return &s.Path
}

// rotation compares what the runtime is told of at each change of a file.
func (c *comparison) rotation(field string, before, now *Rotate) {
	if before == nil || now == nil {
		pointed(c, field, DiffLive, before, now, func(r Rotate) string {
			return fmt.Sprintf("size %s, keep %d", bytesText(r.Size), r.Keep)
		})
		return
	}
	scalar(c, field+".size", DiffLive, before.Size, now.Size, bytesText)
	scalar(c, field+".every", DiffLive, before.Every, now.Every, lengthText)
	scalar(c, field+".keep", DiffLive, before.Keep, now.Keep, strconv.Itoa)
	scalar(c, field+".max_age", DiffLive, before.MaxAge, now.MaxAge, lengthText)
	scalar(c, field+".compress", DiffLive, before.Compress, now.Compress, func(p Compression) string { return string(p) })
}

func itself(s string) string { return s }

func countText(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func processorsText(milli uint64) string {
	if milli == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64)
}

func lengthText(d Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func endText(e ExitClass) string {
	switch {
	case e.Signal == 0:
		return strconv.Itoa(e.Code)
	case e.Code == 0:
		return e.Signal.String()
	}
	return fmt.Sprintf("%v %d", e.Signal, e.Code)
}
