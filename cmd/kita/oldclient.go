package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"kita/control"
	"kita/control/fleet"
	"kita/control/legacy"
	"kita/spec"
)

const oldClientHelp = `use: supervisor-rs-client COMMAND [CHILD] [on HOSTS]

  start CHILD      start a child that does not run
  restart CHILD    stop and start a child that runs
  stop CHILD|all   stop a child, or all
  trystart CHILD   start a child, after a stop if it runs
  check [CHILD]    show the children that run
  info             show what the server says of itself
  kill             stop all children and end the server
  help             show this

This is kita speaking the old protocol; ` + "`kita`" + ` itself says more, see ` + "`kita help`" + `.
`

// oldClient is supervisor-rs-client: the old protocol, its answers printed as
// they come.
func (p *program) oldClient(args []string) error {
	if len(args) == 0 || args[0] == "--help" {
		return p.oldHelp()
	}
	words, err := control.ParseWords(args)
	if err != nil {
		return &usageError{err}
	}
	if words.Verb == spec.VerbHelp {
		return p.oldHelp()
	}
	if words.Key != "" {
		return fmt.Errorf("with %s: encrypted connections are not supported by this version of kita; nothing was sent", words.Key)
	}
	hosts, err := fleet.ParseHosts(words.Hosts)
	if err != nil {
		return &usageError{err}
	}
	return p.oldAsk(hosts, words)
}

func (p *program) oldHelp() error {
	_, err := fmt.Fprint(p.out, oldClientHelp)
	return err
}

// oldAsk sends one request to every host.
func (p *program) oldAsk(hosts []fleet.Host, words control.Words) error {
	packet := strings.TrimSpace(string(words.Verb) + " " + words.Child)
	results := fleet.Each(context.Background(), hosts, fleet.Limits{Timeout: defaultTimeout}, func(ctx context.Context, h fleet.Host) (string, error) {
		answer, err := legacy.Exchange(ctx, h.Addr(), []byte(packet))
		if err == nil && len(answer) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			err = &control.Unreachable{Host: h.Addr(), Err: err}
		}
		return string(answer), err
	})
	status := exitOK
	for _, r := range results {
		if r.Err != nil {
			status = worst(status, exitUnreachable)
			p.complain("", r.Err)
			continue
		}
		if !oldSuccess(words.Verb, words.Child, r.Value) {
			status = worst(status, exitFailed)
		}
		if _, err := fmt.Fprintf(p.out, "Server %s response:\n%s\n", r.Host, r.Value); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return withStatus(status)
}

// Parts of the answers of supervisor-rs 0.8 that precede the one that says how
// a command went.
const (
	afterPrehook = "Find pre-hook, has started pre-hook firstly. "
	afterStop    = "start it again. "
)

// oldSuccess tells whether an answer of the old protocol reports success. The
// protocol has no status; these are the wordings of success, and everything
// else is a failure.
func oldSuccess(verb spec.Verb, child, answer string) bool {
	switch verb {
	case spec.VerbStart, spec.VerbRestart, spec.VerbStop:
		return strings.HasPrefix(strings.TrimPrefix(answer, afterPrehook), fmt.Sprintf("%s %s success", verb, child))
	case spec.VerbTrystart:
		answer = strings.TrimPrefix(answer, afterPrehook)
		if _, after, stopped := strings.Cut(answer, afterStop); stopped {
			answer = after
		}
		return strings.HasPrefix(answer, "Start "+child+" success")
	case spec.VerbKill:
		return strings.HasPrefix(answer, "I am dying.")
	case spec.VerbCheck:
		return strings.HasPrefix(answer, "==Check Results Below==")
	case spec.VerbInfo:
		return strings.HasPrefix(answer, "==Server Info Below==")
	case spec.VerbHelp:
	}
	return false
}
