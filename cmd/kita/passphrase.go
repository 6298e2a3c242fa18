package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// maxPassphrase bounds a passphrase, in bytes.
const maxPassphrase = 4096

// passphrases are those of private keys: from the file that the command line
// names, or typed in. Each key is asked about once.
type passphrases struct {
	// file is --key-passphrase-file; empty means the terminal.
	file string
	// terminal asks the user; see screen.askOnTerminal.
	terminal func(prompt string) ([]byte, error)
	// remedy is what to do where there is no terminal.
	remedy string

	// mu guards given. It is held during a question, so that there is one at a
	// time.
	mu    sync.Mutex
	given map[string]passphrase
	// interrupted: the user does not want to be asked any more.
	interrupted bool
}

type passphrase struct {
	text []byte
	err  error
}

func newPassphrases(file string, s *screen) *passphrases {
	return &passphrases{
		file: file, terminal: s.askOnTerminal, given: map[string]passphrase{},
		remedy: "give --key-passphrase-file FILE, or add the key to the ssh-agent and say `with agent:NAME`",
	}
}

// of is a keyring.Passphrase.
func (p *passphrases) of(key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.given[key]
	switch {
	case !ok && p.interrupted:
		return nil, errInterrupted
	case !ok:
		known.text, known.err = p.find(key)
		p.given[key] = known
		p.interrupted = errors.Is(known.err, errInterrupted)
	}
	return bytes.Clone(known.text), known.err
}

func (p *passphrases) find(key string) ([]byte, error) {
	if p.file != "" {
		return readPassphrase(p.file)
	}
	text, err := p.terminal("Passphrase of " + printable(key) + ": ")
	if errors.Is(err, errNoTerminal) {
		return nil, errors.New("its passphrase is needed and there is no terminal to ask on: " + p.remedy)
	}
	return text, err
}

// readPassphrase is the first line of a file, which may be a pipe: that is what
// a shell makes of <(command).
func readPassphrase(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--key-passphrase-file: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxPassphrase+2))
	if err != nil {
		return nil, fmt.Errorf("--key-passphrase-file: %w", err)
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return nil, fmt.Errorf("--key-passphrase-file %s: its first line is empty", file)
	case len(line) > maxPassphrase:
		return nil, fmt.Errorf("--key-passphrase-file %s: its first line is longer than %d bytes", file, maxPassphrase)
	}
	return line, nil
}

var (
	errNoTerminal = errors.New("no terminal")
	// errInterrupted is Ctrl-C, or Ctrl-D, in answer to a question: it ends the
	// command, as everywhere else. That it is a context.Canceled tells package
	// sshhost to ask no further.
	errInterrupted = fmt.Errorf("no passphrase was given: %w", interruptedByUser{})
)

type interruptedByUser struct{}

func (interruptedByUser) Error() string        { return errCtrlC.Error() }
func (interruptedByUser) Is(target error) bool { return target == context.Canceled }

// askOnTerminal asks the user of this process's own terminal, wherever stdin
// and stdout go. On the screen, which may be nil, nothing is written meanwhile.
func (s *screen) askOnTerminal(prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	defer tty.Close()
	defer s.hold()()
	return askOn(tty, prompt)
}

// askOn asks the user of a terminal and does not show what is typed. Whatever
// comes of it, the cursor stands at the beginning of a line afterwards.
func askOn(tty *os.File, prompt string) ([]byte, error) {
	// Raw, so that ^C arrives here as a byte and cannot end the program while
	// the terminal shows nothing of what is typed.
	state, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return nil, errNoTerminal
	}
	defer func() { _ = term.Restore(int(tty.Fd()), state) }()
	text, err := term.NewTerminal(tty, "").ReadPassword(prompt)
	if err == nil {
		return []byte(text), nil
	}
	_, _ = tty.WriteString("\r\n")
	if errors.Is(err, io.EOF) {
		return nil, errInterrupted
	}
	return nil, fmt.Errorf("ask for the passphrase: %w", err)
}
