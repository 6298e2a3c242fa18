package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kita/spec"
)

// Service is what an answer needs of the server.
type Service interface {
	Do(ctx context.Context, c spec.Command) (spec.Outcome, error)
	List() []spec.View
	Info() spec.Info
}

// Options of Answer.
type Options struct {
	// Encrypt: plain requests are not served, and every answer begins with the
	// line that says so.
	Encrypt bool
	// By is the asker, as in spec.Command.
	By string
	// May says whether the asker may do a command: nil, or why not. It is asked
	// once for each request that makes sense; without it all may be done.
	May func(verb spec.Verb, child string) error
	// Location is the time zone of the times shown; nil means the local one.
	Location *time.Location
}

// MaxPacket bounds a request, in bytes; the longest sensible one is a name of
// 255 bytes and a list of hosts.
const MaxPacket = 64 << 10

// encryptLine begins every answer of a server in encrypt mode.
const encryptLine = "Running on encrypt mode, need to dencrypt your command.\n"

var tooLong = fmt.Sprintf("the request is too long, the limit is %d bytes", MaxPacket)

// Answer carries out one request and returns the bytes to answer. kill is true
// when the server is to end once they are written; the children are then still
// untouched. It never returns an empty answer.
func Answer(ctx context.Context, svc Service, packet []byte, opt Options) (answer []byte, kill bool) {
	if opt.Encrypt {
		return []byte(encryptLine + refusePacket(packet)), false
	}
	if len(packet) > MaxPacket {
		return []byte(tooLong), false
	}
	r, err := parse(packet)
	if err != nil {
		return []byte(err.Error()), false
	}
	if err := opt.may(r); err != nil {
		return []byte(err.Error()), false
	}
	switch r.verb {
	case spec.VerbKill:
		return []byte("I am dying. last error: \n"), true
	case spec.VerbCheck:
		return []byte(check(svc.List(), r.child, opt.location())), false
	case spec.VerbInfo:
		return []byte(info(svc.Info(), r.child)), false
	case spec.VerbHelp:
		return []byte("not support"), false
	}
	out, err := svc.Do(ctx, spec.Command{Verb: r.verb, Child: r.child, By: opt.By})
	if err != nil {
		return []byte(refusal(r, err)), false
	}
	return []byte(success(r, out)), false
}

func (o Options) may(r request) error {
	if o.May == nil {
		return nil
	}
	return o.May(r.verb, r.child)
}

func (o Options) location() *time.Location {
	if o.Location == nil {
		return time.Local
	}
	return o.Location
}

// refusePacket says why a packet is not carried out in encrypt mode. The old
// packets can be replayed by whoever saw one, so no key is ever found for one
// here; the order of the checks is that of supervisor-rs.
func refusePacket(packet []byte) string {
	name, body, found := bytes.Cut(packet, []byte(";"))
	switch {
	case len(packet) > MaxPacket:
		return tooLong
	case !found:
		return "Cannot parse encrypt data"
	case len(name) == 0 || len(body) == 0:
		return "Keyname or command is empty"
	}
	return "Cannot found '" + strings.ToValidUTF8(string(name), "\uFFFD") + "' file in keys path"
}

// success words what a command did.
func success(r request, out spec.Outcome) string {
	done := fmt.Sprintf("%s %s success%s", r.verb, r.child, repeatTail(out.Repeat))
	switch r.verb {
	case spec.VerbStart:
		if out.Prehook != nil {
			return "Find pre-hook, has started pre-hook firstly. " + done
		}
	case spec.VerbStop:
		return fmt.Sprintf("stop %s success", r.child)
	case spec.VerbTrystart:
		started := fmt.Sprintf("Start %s success%s ", r.child, repeatTail(out.Repeat))
		if !out.WasRunning {
			return started
		}
		hook := ""
		if out.Posthook != nil {
			hook = fmt.Sprintf("find post-hook \"%s\", run it after stop. ", out.Posthook)
		}
		return fmt.Sprintf("This child already start, stop it first. %sStop %s success, start it again. %s", hook, r.child, started)
	}
	return done
}

func repeatTail(r *spec.Repeat) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf(", and it will %s in %s", r.Action, debugDuration(r.Every.D()))
}

// debugDuration is d as Rust's `{:?}` has it, in its largest unit: 5s, 90s,
// 1.5s, 500ms.
func debugDuration(d time.Duration) string {
	if d < time.Second {
		return d.String()
	}
	return seconds(d) + "s"
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}

// refusal words an error of Do.
func refusal(r request, err error) string {
	var no *spec.Refusal
	if !errors.As(err, &no) {
		return "the server ended before the command was done"
	}
	switch no.Code {
	case spec.AlreadyRunning:
		return fmt.Sprintf("Cannot start this child %s, it already exsits", r.child)
	case spec.NotRunning:
		return fmt.Sprintf("%s not exsit, cannot stop", r.child)
	case spec.NotFound:
		if r.verb == spec.VerbStop {
			return fmt.Sprintf("%s not exsit, cannot stop", r.child)
		}
		return fmt.Sprintf("Cannot found '%s' file in load path", r.child)
	case spec.BadHook:
		if r.verb == spec.VerbStart {
			return fmt.Sprintf("This child, %s, cannot pass recursive check", r.child)
		}
		return fmt.Sprintf("This child, %s, cannot pass pre-check", r.child)
	case spec.CannotStart:
		return fmt.Sprintf("Cannot start child %s: %s", r.child, no.Message)
	}
	// What supervisor-rs had no words for is said in kita's.
	return no.Message
}
