package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"

	"kita/control"
	"kita/control/fleet"
	"kita/control/keyring"
	"kita/control/legacy"
	"kita/spec"
)

// checkLegacy refuses with --legacy what the protocol of supervisor-rs has no
// words for.
func (r request) checkLegacy(f flags) error {
	const old = "--legacy speaks the protocol of supervisor-rs, "
	switch {
	case r.format != formatText:
		return usagef(old+"whose answers are text: leave out -o %s", r.format)
	case r.noWait:
		return usagef(old + "in which --no-wait cannot be said")
	case r.wait.given():
		return usagef(old+"in which --wait %v cannot be said", r.wait)
	case r.ifChanged:
		return usagef(old + "in which --if-changed cannot be said")
	case r.rolling:
		return usagef(old + "which does not say enough for --serial and --max-unavailable")
	case f.socket != "":
		return usagef(old + "which is served on the TCP port only: leave out --socket")
	}
	if err := r.checkOldChild(); err != nil {
		return err
	}
	for _, h := range r.hosts {
		if h.SSH {
			return usagef(old+"%s is asked through its sshd: leave out --legacy", h)
		}
	}
	return nil
}

// checkOldChild refuses a name that the old protocol, which divides a request at
// its blanks, would take for another child, and for further hosts.
func (r request) checkOldChild() error {
	if strings.ContainsFunc(r.child, unicode.IsSpace) {
		return usagef("%s %q: a child of supervisor-rs has no blanks in its name", r.verb, r.child)
	}
	return nil
}

// oldWords are the request in the old protocol.
func (r request) oldWords() []string {
	if r.child == "" {
		return []string{string(r.verb)}
	}
	return []string{string(r.verb), r.child}
}

// speakOld carries out a command in the protocol of supervisor-rs and prints the
// answers as its client does.
func (p *program) speakOld(ctx context.Context, r request) error {
	type answer struct {
		host fleet.Host
		text string
	}
	return fanOutHosts(ctx, p, r, showing[answer]{
		text: func(w io.Writer, a answer, _ string) error { return writeOldAnswer(w, a.host, a.text) },
	}, func(ctx context.Context, h fleet.Host) (answer, error) {
		text, err := p.exchangeOld(ctx, r, h)
		if status := r.oldStatus(text); err == nil && status != exitOK {
			err = &oldAnswer{text: text, status: status}
		}
		return answer{h, text}, waitedTooLong(ctx, r, nil, err)
	})
}

// writeOldAnswer prints an answer of the old protocol in the way of its client:
// scripts read it. What a terminal would act on is escaped.
func writeOldAnswer(w io.Writer, h fleet.Host, text string) error {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		parts := strings.Split(line, "\t")
		for j := range parts {
			parts[j] = printable(parts[j])
		}
		lines[i] = strings.Join(parts, "\t")
	}
	_, err := fmt.Fprintf(w, "Server %s response:\n%s\n", h, strings.Join(lines, "\n"))
	return err
}

// exchangeOld asks one host: in plain text, or with a packet where it has a key.
func (p *program) exchangeOld(ctx context.Context, r request, h fleet.Host) (string, error) {
	request := strings.Join(r.oldWords(), " ")
	packet := []byte(request)
	if with := r.keyOf(h); with != "" {
		key, err := r.keys.get(with)
		if err == nil {
			packet, err = oldPacket(with, key, request)
		}
		if err != nil {
			return "", err
		}
	}
	answer, err := legacy.Exchange(ctx, h.Addr(), packet)
	if err == nil && len(answer) == 0 {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "", context.Cause(ctx)
	case errors.Is(err, legacy.ErrTooLong):
		return "", err // it was reached
	case err != nil:
		return "", &control.Unreachable{Host: h.Addr(), Err: err}
	}
	return string(answer), nil
}

// oldPacket is a request as the client of supervisor-rs signs it.
func oldPacket(with string, key *keyring.Private, request string) ([]byte, error) {
	private, ok := key.RSA()
	switch {
	case ok:
	case key.PublicKey().Type() == ssh.KeyAlgoRSA:
		return nil, fmt.Errorf("with %s: the ssh-agent cannot sign packets of supervisor-rs: give the file of the key; for a kita server use `kita` without --legacy", with)
	default:
		return nil, fmt.Errorf("with %s: the packets of supervisor-rs are made with an RSA key, and this is none (%s); for a kita server use `kita` without --legacy", with, key.PublicKey().Type())
	}
	return legacy.Seal(key.Name, private, request)
}

// Parts of the answers of supervisor-rs 0.8 that precede the one that says how
// a command went.
const (
	onEncryptMode = "Running on encrypt mode, need to dencrypt your command.\n"
	afterPrehook  = "Find pre-hook, has started pre-hook firstly. "
	afterStop     = "start it again. "
)

// oldStatus is the exit status of an answer. The children that a server of
// supervisor-rs shows run.
func (r request) oldStatus(answer string) int {
	switch {
	case !oldSuccess(r.verb, r.child, answer):
		return exitFailed
	case r.verb == spec.VerbCheck && r.child != "" && r.child != spec.All && !slices.Contains(strings.Split(answer, "\n"), "child name: "+r.child):
		return exitNotRunning
	}
	return exitOK
}

// oldSuccess tells whether an answer of the old protocol reports success. The
// protocol has no status; these are the wordings of success, and everything
// else is a failure.
func oldSuccess(verb spec.Verb, child, answer string) bool {
	answer = strings.TrimPrefix(answer, onEncryptMode)
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
