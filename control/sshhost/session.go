package sshhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Bounds of what a program on the host may say.
const (
	maxOutput = 16 << 20
	maxErrors = 64 << 10
)

// session is a program that runs on the host.
type session struct {
	ch ssh.Channel
	// status is closed when the program has ended; exit is valid from then on,
	// -1 where a signal ended it or the connection did.
	status chan struct{}
	exit   int
}

// exec starts a command line, which the login shell of the user there reads.
func (h *Host) exec(ctx context.Context, line string) (*session, error) {
	ch, requests, err := h.channel(ctx, h.last(), "session", nil)
	if err != nil {
		return nil, err
	}
	s := &session{ch: ch, status: make(chan struct{}), exit: -1}
	if !h.start(func() { s.serve(requests) }) {
		_ = ch.Close()
		return nil, errClosed
	}
	accepted, err := await(ctx, h, func() (bool, error) {
		return ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{line}))
	}, func(bool) {})
	if err == nil && !accepted {
		err = errors.New("sshd does not let commands run")
	}
	if err != nil {
		_ = ch.Close()
		return nil, err
	}
	return s, nil
}

// serve hears how the program ended.
func (s *session) serve(requests <-chan *ssh.Request) {
	defer close(s.status)
	for r := range requests {
		if r.Type == "exit-status" {
			var status struct{ Status uint32 }
			if ssh.Unmarshal(r.Payload, &status) == nil {
				s.exit = int(status.Status)
			}
		}
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

// output is what a program said until it ended.
type output struct {
	out, err []byte
	exit     int
}

// run runs a command line to its end. Where ctx ends before, the program is
// left alone.
func (h *Host) run(ctx context.Context, line string) (output, error) {
	s, err := h.exec(ctx, line)
	if err != nil {
		return output{}, err
	}
	defer s.ch.Close()
	_ = s.ch.CloseWrite()
	var stderr bytes.Buffer
	errorsRead := make(chan struct{})
	if !h.start(func() {
		defer close(errorsRead)
		_, _ = io.Copy(&stderr, io.LimitReader(s.ch.Stderr(), maxErrors))
		_, _ = io.Copy(io.Discard, s.ch.Stderr())
	}) {
		return output{}, errClosed
	}
	stdout, err := await(ctx, h, func() ([]byte, error) {
		text, err := io.ReadAll(io.LimitReader(s.ch, maxOutput+1))
		if err == nil && len(text) > maxOutput {
			err = fmt.Errorf("the answer is longer than %d bytes", maxOutput)
		}
		return text, err
	}, func([]byte) {})
	if err != nil {
		return output{}, err
	}
	for _, end := range []chan struct{}{errorsRead, s.status} {
		select {
		case <-end:
		case <-ctx.Done():
			return output{}, ctx.Err()
		}
	}
	return output{out: stdout, err: stderr.Bytes(), exit: s.exit}, nil
}

// firstLine waits for a certain line on stderr and goes on to read after it. It
// returns what was said else before the program ended.
func (h *Host) firstLine(ctx context.Context, s *session, want string) (said string, found bool) {
	seen, ended := make(chan struct{}), make(chan struct{})
	var (
		once  sync.Once
		lines []string // of the task until ended is closed
	)
	if !h.start(func() {
		defer close(ended)
		scanner := bufio.NewScanner(io.LimitReader(s.ch.Stderr(), maxErrors))
		for scanner.Scan() {
			if scanner.Text() == want {
				once.Do(func() { close(seen) })
				break
			}
			lines = append(lines, scanner.Text())
		}
		_, _ = io.Copy(io.Discard, s.ch.Stderr())
	}) {
		return errClosed.Error(), false
	}
	select {
	case <-seen:
		return "", true
	case <-ctx.Done():
		return "no answer in time", false
	case <-ended:
	}
	select {
	case <-seen:
		return "", true
	default:
	}
	if len(lines) == 0 {
		return "", false
	}
	return lines[len(lines)-1], false
}

// quote writes a word so that every shell takes it as it is.
func quote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
