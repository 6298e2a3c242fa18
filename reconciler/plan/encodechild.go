package plan

import (
	"strconv"

	"kita/spec"
)

// child appends what json.Marshal makes of c.
func (e *encoder) child(c *spec.Child) {
	if c == nil {
		e.b = append(e.b, "null"...)
		return
	}
	e.b = append(e.b, '{')
	e.text("name", c.Name)
	e.text("file", c.File)
	e.text("load_path", c.LoadPath)
	e.text("command_line", c.CommandLine)
	e.texts("command", c.Command)
	e.text("dir", c.Dir)
	if len(c.Env) > 0 {
		e.any("env", c.Env)
	}
	e.textOmit("env_file", c.EnvFile)
	if c.Stdout != nil {
		e.any("stdout", c.Stdout)
	}
	if c.Stderr != nil {
		e.any("stderr", c.Stderr)
	}
	e.textOmit("user", c.User)
	e.textOmit("group", c.Group)
	if c.Umask != nil {
		e.any("umask", c.Umask)
	}
	if c.Nice != nil {
		e.any("nice", c.Nice)
	}
	if len(c.Limits) > 0 {
		e.any("limits", c.Limits)
	}
	if c.Resources != (spec.Resources{}) {
		e.any("resources", c.Resources)
	}
	e.key("stop")
	e.b = append(e.b, '{')
	e.text("signal", c.Stop.Signal.String())
	e.text("grace", c.Stop.Grace.String())
	e.b = append(e.b, '}')
	e.key("restart")
	e.restart(&c.Restart)
	if c.Repeat != nil {
		e.any("repeat", c.Repeat)
	}
	if c.Prehook != nil {
		e.any("prehook", c.Prehook)
	}
	if c.Posthook != nil {
		e.any("posthook", c.Posthook)
	}
	if c.Metrics != nil {
		e.any("metrics", c.Metrics)
	}
	e.text("hash", c.Hash)
	e.b = append(e.b, '}')
}

func (e *encoder) restart(r *spec.Restart) {
	e.b = append(e.b, '{')
	e.text("policy", string(r.Policy))
	e.key("backoff")
	e.b = append(e.b, '{')
	e.text("initial", r.Backoff.Initial.String())
	e.text("max", r.Backoff.Max.String())
	// No file can have a factor below 1 or above 100.
	if f := r.Backoff.Factor; f >= 1 && f <= 100 {
		e.key("factor")
		e.b = strconv.AppendFloat(e.b, f, 'f', -1, 64)
	} else {
		e.any("factor", f)
	}
	e.b = append(e.b, '}')
	e.key("limit")
	e.b = append(e.b, '{')
	e.int("starts", r.Limit.Starts)
	e.text("within", r.Limit.Within.String())
	e.b = append(e.b, '}')
	if len(r.Success) > 0 {
		e.any("success", r.Success)
	}
	e.b = append(e.b, '}')
}

func (e *encoder) texts(name string, all []string) {
	if all == nil {
		e.any(name, all)
		return
	}
	e.key(name)
	e.b = append(e.b, '[')
	for i, s := range all {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.string(s)
	}
	e.b = append(e.b, ']')
}

func (e *encoder) textOmit(name, s string) {
	if s != "" {
		e.text(name, s)
	}
}
