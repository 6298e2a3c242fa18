package plan

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"kita/spec"
)

// AppendJSON appends what json.Marshal makes of o, on one line. A start saves its
// child twice, so what is there each time is written by hand, and by reflection
// only what is rare.
func (o *Observed) AppendJSON(b []byte) ([]byte, error) {
	e := encoder{b: append(b, '{')}
	e.uint("incarnation", o.Incarnation)
	e.uintOmit("reserved", o.Reserved)
	e.uintOmit("start_ticks", o.StartTicks)
	if o.Process != nil {
		e.key("process")
		e.process(o.Process)
	}
	if o.LastExit != nil {
		e.key("last_exit")
		e.exit(o.LastExit)
	}
	if len(o.History) > 0 {
		e.key("history")
		e.exits(o.History)
	}
	if o.End != nil {
		e.any("end", o.End)
	}
	e.uint("attempted", o.Attempted)
	e.uint("settled", o.Settled)
	e.uintOmit("posthooked", o.Posthooked)
	if o.Prehooked != (Ticket{}) {
		e.any("prehooked", o.Prehooked)
	}
	if o.Failure != nil {
		e.any("failure", o.Failure)
	}
	if o.Failures != 0 {
		e.int("failures", o.Failures)
	}
	if len(o.Window) > 0 {
		e.any("window", o.Window)
	}
	e.uintOmit("starts", o.Starts)
	e.uintOmit("restarts", o.Restarts)
	if o.Repeat != nil {
		e.any("repeat", o.Repeat)
	}
	if o.Killed != nil {
		e.any("killed", o.Killed)
	}
	if o.Strays != nil {
		e.any("strays", o.Strays)
	}
	if o.LastLines != nil {
		e.any("last_lines", o.LastLines)
	}
	if o.Phase != "" {
		e.text("phase", string(o.Phase))
	}
	if !o.Since.IsZero() {
		e.time("since", o.Since)
	}
	return append(e.b, '}'), e.err
}

// ReadJSON makes o what AppendJSON wrote. Where the process has been started with
// child as it is, which may be nil, child is taken and not a copy of it.
func (o *Observed) ReadJSON(data []byte, child *spec.Child) error {
	var own []byte
	if child != nil {
		e := encoder{b: []byte(`"config":`)}
		e.child(child)
		if e.err != nil {
			return e.err
		}
		own = append(e.b, `,"started_at":`...)
	}
	at := bytes.Index(data, own)
	if child == nil || at < 0 {
		return json.Unmarshal(data, o)
	}
	// No text in data can look like this: a quote in a text is escaped.
	rest := append(bytes.Clone(data[:at]), data[at+len(own)-len(`"started_at":`):]...)
	if err := json.Unmarshal(rest, o); err != nil {
		return err
	}
	if o.Process != nil && o.Process.Config == nil {
		o.Process.Config = child
	}
	return nil
}

// encoder appends the members of JSON objects.
type encoder struct {
	b   []byte
	err error
}

func (e *encoder) process(p *Process) {
	e.b = append(e.b, '{')
	e.key("identity")
	e.identity(&p.Identity)
	if p.Cgroup != "" {
		e.text("cgroup", p.Cgroup)
	}
	if len(p.Warnings) > 0 {
		e.any("warnings", p.Warnings)
	}
	if len(p.Outputs) > 0 {
		e.any("outputs", p.Outputs)
	}
	e.key("config")
	e.child(p.Config)
	e.time("started_at", p.StartedAt)
	e.trueOmit("adopted", p.Adopted)
	if p.Exit != nil {
		e.key("exit")
		e.exit(p.Exit)
	}
	if p.Stop != nil {
		e.any("stop", p.Stop)
	}
	e.b = append(e.b, '}')
}

func (e *encoder) identity(id *spec.Identity) {
	e.b = append(e.b, '{')
	e.int("pid", id.PID)
	e.uintOmit("inode", id.Inode)
	e.uint("start_ticks", id.StartTicks)
	e.text("boot_id", id.BootID)
	e.uint("incarnation", id.Incarnation)
	e.b = append(e.b, '}')
}

func (e *encoder) exits(all []spec.Exit) {
	e.b = append(e.b, '[')
	for i := range all {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.exit(&all[i])
	}
	e.b = append(e.b, ']')
}

func (e *encoder) exit(x *spec.Exit) {
	e.b = append(e.b, '{')
	e.uint("incarnation", x.Incarnation)
	e.key("known")
	e.b = strconv.AppendBool(e.b, x.Known)
	if x.HasCode() {
		e.int("code", x.Code)
	}
	if x.Signal != 0 {
		e.text("signal", x.Signal.String())
	}
	e.trueOmit("core_dumped", x.CoreDumped)
	e.trueOmit("oom_killed", x.OOMKilled)
	e.time("at", x.At)
	e.b = append(e.b, '}')
}

// key begins a member. No key needs escaping.
func (e *encoder) key(name string) {
	if e.b[len(e.b)-1] != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(append(append(e.b, '"'), name...), '"', ':')
}

func (e *encoder) int(name string, v int) {
	e.key(name)
	e.b = strconv.AppendInt(e.b, int64(v), 10)
}

func (e *encoder) uint(name string, v uint64) {
	e.key(name)
	e.b = strconv.AppendUint(e.b, v, 10)
}

func (e *encoder) uintOmit(name string, v uint64) {
	if v != 0 {
		e.uint(name, v)
	}
}

func (e *encoder) trueOmit(name string, v bool) {
	if v {
		e.key(name)
		e.b = append(e.b, "true"...)
	}
}

func (e *encoder) time(name string, t time.Time) {
	if year := t.Year(); year < 0 || year > 9999 {
		e.any(name, t) // an error, as json.Marshal has it
		return
	}
	e.key(name)
	e.b = append(t.AppendFormat(append(e.b, '"'), time.RFC3339Nano), '"')
}

func (e *encoder) text(name, s string) {
	e.key(name)
	e.string(s)
}

func (e *encoder) string(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			e.value(s)
			return
		}
	}
	e.b = append(append(append(e.b, '"'), s...), '"')
}

func (e *encoder) any(name string, v any) {
	e.key(name)
	e.value(v)
}

func (e *encoder) value(v any) {
	data, err := json.Marshal(v)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.b = append(e.b, data...)
}
