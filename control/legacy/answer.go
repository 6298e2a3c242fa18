package legacy

import (
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
	// Encrypt: only packets that Open opens are carried out, and every answer
	// begins with the line that says so.
	Encrypt bool
	// Open returns the command in the body of a packet of the key with that
	// name, and who is the asker then. Of its error the answer says nothing;
	// without it no packet is opened.
	Open func(name string, body []byte) (command []byte, by string, err error)
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

// Answer carries out one request and returns the bytes to answer. kill is true
// when the server is to end once they are written; the children are then still
// untouched. It never returns an empty answer.
func Answer(ctx context.Context, svc Service, packet []byte, opt Options) (answer []byte, kill bool) {
	if !opt.Encrypt {
		return carryOut(ctx, svc, packet, opt)
	}
	command, by, err := opt.open(packet)
	if err != nil {
		return []byte(encryptLine + err.Error()), false
	}
	opt.By = by
	answer, kill = carryOut(ctx, svc, command, opt)
	return append([]byte(encryptLine), answer...), kill
}

func carryOut(ctx context.Context, svc Service, packet []byte, opt Options) (answer []byte, kill bool) {
	if len(packet) > MaxPacket {
		return []byte(errTooLong.Error()), false
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

// open opens a packet. The errors are answers: that to a packet that cannot be
// opened depends on nothing but the name in it, so that who has no key does not
// learn which there are.
func (o Options) open(packet []byte) (command []byte, by string, err error) {
	name, body, err := Split(packet)
	if err != nil {
		return nil, "", err
	}
	if o.Open != nil {
		if command, by, err := o.Open(name, body); err == nil {
			return command, by, nil
		}
	}
	return nil, "", answerError("Cannot found '" + strings.ToValidUTF8(name, "\uFFFD") + "' file in keys path")
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
