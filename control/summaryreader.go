package control

import "kita/spec"

// decodeSummaries reads the answer of the children. It returns false where it meets
// what encoding/json has to judge: what is not JSON or seldom there, and members
// that it does not know.
func decodeSummaries(text string) (views []spec.View, ok bool) {
	r := jsonReader{text: text}
	r.object(func(key string) {
		r.bad = r.bad || key != "children" || views != nil
		views = make([]spec.View, 0, 1+len(text)/300)
		r.array(func() {
			views = append(views, spec.View{})
			r.view(&views[len(views)-1])
		})
	})
	return views, r.isDone()
}

// decodeView reads the answer of one child, as decodeSummaries does: a client that
// asks once would spend more time on what encoding/json learns of the types.
func decodeView(text string, v *spec.View) bool {
	r := jsonReader{text: text}
	r.view(v)
	return r.isDone()
}

func (r *jsonReader) view(v *spec.View) {
	r.object(func(key string) {
		switch key {
		case "name":
			v.Name = r.string()
		case "spec":
			v.Spec = made(v.Spec)
			r.child(v.Spec)
		case "desired":
			r.desired(&v.Desired)
		case "status":
			r.status(&v.Status)
		case "file_error":
			v.FileError = r.string()
		case "stale":
			v.Stale = r.boolean()
		default:
			r.bad = true
		}
	})
}

func (r *jsonReader) desired(d *spec.Desired) {
	r.object(func(key string) {
		switch key {
		case "run":
			d.Run = spec.Run(r.string())
		case "generation":
			d.Generation = r.uint()
		case "restart_generation":
			d.RestartGeneration = r.uint()
		case "posthook":
			d.Posthook = r.uint()
		case "cause":
			d.Cause = spec.Cause(r.string())
		case "by":
			d.By = r.string()
		case "at":
			d.At = r.time()
		default:
			r.bad = true
		}
	})
}

func (r *jsonReader) status(s *spec.Status) {
	r.object(func(key string) {
		switch key {
		case "phase":
			s.Phase = spec.Phase(r.string())
		case "since":
			s.Since = r.time()
		case "observed_generation":
			s.ObservedGeneration = r.uint()
		case "process":
			s.Process = made(s.Process)
			r.process(s.Process)
		case "starts":
			s.Starts = r.uint()
		case "restarts":
			s.Restarts = r.uint()
		case "last_exit":
			s.LastExit = made(s.LastExit)
			r.exit(s.LastExit)
		case "history":
			r.bad = r.bad || s.History != nil
			s.History = []spec.Exit{}
			r.array(func() {
				s.History = append(s.History, spec.Exit{})
				r.exit(&s.History[len(s.History)-1])
			})
		case "reason":
			s.Reason = r.string()
		case "next_start":
			at := r.time()
			s.NextStart = &at
		case "repeat_at":
			at := r.time()
			s.RepeatAt = &at
		case "failure":
			s.Failure = made(s.Failure)
			r.failure(s.Failure)
		case "warnings":
			s.Warnings = r.strings()
		default:
			r.bad = true
		}
	})
}

// made is p, or a new one: what comes twice is merged, as encoding/json does.
func made[T any](p *T) *T {
	if p == nil {
		p = new(T)
	}
	return p
}

func (r *jsonReader) process(p *spec.Process) {
	r.object(func(key string) {
		switch key {
		case "pid":
			p.PID = int(r.uint())
		case "incarnation":
			p.Incarnation = r.uint()
		case "started_at":
			p.StartedAt = r.time()
		case "adopted":
			p.Adopted = r.boolean()
		case "config":
			p.Config = made(p.Config)
			r.child(p.Config)
		default:
			r.bad = true
		}
	})
}

func (r *jsonReader) exit(e *spec.Exit) {
	r.object(func(key string) {
		switch key {
		case "incarnation":
			e.Incarnation = r.uint()
		case "known":
			e.Known = r.boolean()
		case "code":
			e.Code = int(r.uint())
		case "signal":
			r.parse(&e.Signal)
		case "core_dumped":
			e.CoreDumped = r.boolean()
		case "oom_killed":
			e.OOMKilled = r.boolean()
		case "at":
			e.At = r.time()
		default:
			r.bad = true
		}
	})
}

func (r *jsonReader) failure(f *spec.Failure) {
	r.object(func(key string) {
		switch key {
		case "generation":
			f.Generation = r.uint()
		case "code":
			f.Code = spec.Code(r.string())
		case "message":
			f.Message = r.string()
		default:
			r.bad = true
		}
	})
}

func (r *jsonReader) child(c *spec.Child) {
	r.object(func(key string) {
		switch key {
		case "name":
			c.Name = r.string()
		case "file":
			c.File = r.string()
		case "load_path":
			c.LoadPath = r.string()
		case "command_line":
			c.CommandLine = r.string()
		case "command":
			c.Command = r.strings()
		case "dir":
			c.Dir = r.string()
		case "env_file":
			c.EnvFile = r.string()
		case "user":
			c.User = r.string()
		case "group":
			c.Group = r.string()
		case "stop":
			r.object(func(key string) {
				switch key {
				case "signal":
					r.parse(&c.Stop.Signal)
				case "grace":
					r.parse(&c.Stop.Grace)
				default:
					r.bad = true
				}
			})
		case "restart":
			r.restart(&c.Restart)
		case "hash":
			c.Hash = r.string()
		default:
			r.bad = true
		}
	})
}

func (r *jsonReader) restart(to *spec.Restart) {
	r.object(func(key string) {
		switch key {
		case "policy":
			to.Policy = spec.Policy(r.string())
		case "backoff":
			r.object(func(key string) {
				switch key {
				case "initial":
					r.parse(&to.Backoff.Initial)
				case "max":
					r.parse(&to.Backoff.Max)
				case "factor":
					to.Backoff.Factor = float64(r.uint())
				default:
					r.bad = true
				}
			})
		case "limit":
			r.object(func(key string) {
				switch key {
				case "starts":
					to.Limit.Starts = int(r.uint())
				case "within":
					r.parse(&to.Limit.Within)
				default:
					r.bad = true
				}
			})
		default:
			r.bad = true
		}
	})
}
