package control

import (
	"encoding"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"kita/spec"
)

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

// isDone: all was read, and nothing follows.
func (r *jsonReader) isDone() bool {
	r.space()
	return !r.bad && r.at == len(r.text)
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

// parse reads a string that v makes something of.
func (r *jsonReader) parse(v encoding.TextUnmarshaler) {
	text := r.string()
	r.bad = r.bad || v.UnmarshalText([]byte(text)) != nil
}

func (r *jsonReader) strings() []string {
	list := []string{}
	r.array(func() { list = append(list, r.string()) })
	return list
}

// jsonReader reads JSON values one after the other. Its strings are parts of the
// text. Once bad it reads on, but nothing that is meant.
type jsonReader struct {
	text string
	at   int
	bad  bool
}

func (r *jsonReader) space() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\t' || r.text[r.at] == '\r') {
		r.at++
	}
}

// is takes c if it comes next.
func (r *jsonReader) is(c byte) bool {
	r.space()
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) must(c byte) { r.bad = !r.is(c) || r.bad }

// object calls member at the value of each key, which it has to read.
func (r *jsonReader) object(member func(key string)) {
	r.must('{')
	if r.bad || r.is('}') {
		return
	}
	for !r.bad {
		key := r.string()
		r.must(':')
		// encoding/json takes keys in any case.
		if r.bad = r.bad || !isPlainKey(key); r.bad {
			return
		}
		member(key)
		if !r.is(',') {
			r.must('}')
			return
		}
	}
}

// isPlainKey: nothing in it has another case.
func isPlainKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (r *jsonReader) array(element func()) {
	r.must('[')
	if r.bad || r.is(']') {
		return
	}
	for !r.bad {
		element()
		if !r.is(',') {
			r.must(']')
			return
		}
	}
}

func (r *jsonReader) string() string {
	r.must('"')
	if r.bad {
		return ""
	}
	begin := r.at
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[begin : r.at-1]
		case c == '\\', c < ' ', c > '~':
			return r.oddString(begin)
		}
		r.at++
	}
	r.bad = true
	return ""
}

// oddString is that with escapes, or with what may not be UTF-8.
func (r *jsonReader) oddString(begin int) (s string) {
	for r.at < len(r.text) && r.text[r.at] != '"' {
		if r.text[r.at] == '\\' {
			r.at++
		}
		r.at++
	}
	r.at++
	r.bad = r.bad || r.at > len(r.text) || json.Unmarshal([]byte(r.text[begin-1:r.at]), &s) != nil
	return s
}

// token is a number or a word.
func (r *jsonReader) token() string {
	r.space()
	begin := r.at
	for r.at < len(r.text) && strings.IndexByte(",]} \n\t\r", r.text[r.at]) < 0 {
		r.at++
	}
	return r.text[begin:r.at]
}

// uint is a number without a sign, a point or an exponent.
func (r *jsonReader) uint() uint64 {
	token := r.token()
	n, err := strconv.ParseUint(token, 10, 63)
	r.bad = r.bad || err != nil || len(token) > 1 && token[0] == '0'
	return n
}

func (r *jsonReader) boolean() bool {
	word := r.token()
	r.bad = r.bad || word != "true" && word != "false"
	return word == "true"
}

func (r *jsonReader) time() time.Time {
	text := r.string()
	t, err := time.Parse(time.RFC3339, text)
	r.bad = r.bad || err != nil
	return t
}
