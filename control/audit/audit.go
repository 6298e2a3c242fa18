// Package audit is the log of who asked a server for what: a line of JSON for
// every command, and for every connection that was refused.
//
// Package control writes to it. A log that cannot be written never keeps a
// command from being carried out: Err says so, and so does the server's own
// log. Lines that are lost are counted, and told of by the next one that can be
// written.
package audit

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Event is a line.
type Event struct {
	Time time.Time `json:"time"`
	// Key is the name of the public key; empty where none was proved.
	Key string `json:"key"`
	// Peer is the address and port; over the unix socket "uid:0".
	Peer string `json:"peer"`
	// Via is "unix", "tcp", "ssh" or "old".
	Via string `json:"via"`
	// Verb is the command: a spec.Verb, "watch", "upgrade", "validate",
	// "metrics"; "connect" for a connection that came to no command; "audit"
	// for lines that are missing.
	Verb  string `json:"verb"`
	Child string `json:"child,omitempty"`
	// Result is "ok" or the code of the refusal; "gone" where the client left
	// before it was known; "lost" of lines that are missing.
	Result string `json:"result"`
	// Detail is the refusal in words.
	Detail string `json:"detail,omitempty"`
}

// Log appends events to a file. Its methods may be called from many goroutines
// at once.
type Log struct {
	path   func() string
	logger *slog.Logger
	// put is (*file).put, but in tests.
	put func(f *file, p []byte) (int, error)

	// mu is held while a line is written: the next one must know whether it was
	// written whole.
	mu sync.Mutex
	// file is open, nil if not. Owned by mu.
	file *file
	// openErr is why there is no file, writeErr why the last line is not in it.
	// Owned by mu.
	openErr, writeErr error
	// lost counts the lines not written since the last one that was. Owned by mu.
	lost int
	// complained is when the logger was last told. Owned by mu.
	complained time.Time
	closed     bool // owned by mu
}

// complainEvery keeps a full disk from filling another one.
const complainEvery = 10 * time.Second

// New makes a log in the file that path returns at each event, "" for none. It
// is made with mode 0600 where it does not exist, and made again when it was
// renamed or removed. It must be a regular file with one name and no symbolic
// link, and safe from other users, see owned.Check.
func New(path func() string, logger *slog.Logger) *Log {
	return &Log{path: path, logger: logger, put: (*file).put}
}

// Write appends an event, its strings cut at 1 KiB each. It returns once the
// line is with the kernel, or lost.
func (l *Log) Write(e Event) {
	path := l.path()
	line := e.line()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open(path) {
		if path != "" {
			l.lose()
		}
		return
	}
	if l.lost > 0 {
		line = append(lostLine(e.Time, l.lost), line...)
	}
	if l.file.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.put(l.file, line)
	if err == nil && n < len(line) {
		err = fmt.Errorf("only %d of %d bytes were written", n, len(line))
	}
	// Of a line that is written in part the next must not become a part.
	l.file.torn = n < len(line) && (n > 0 || l.file.torn)
	l.writeErr = err
	if err != nil {
		l.lose()
		return
	}
	l.lost = 0
}

// Err is why events cannot be written; nil when they can be, as far as is known
// without writing one.
func (l *Log) Err() error {
	path := l.path()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open(path)
	return l.err()
}

// Close closes the file. Events after it are lost.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.drop()
}

// open makes l.file the file that is at path now; false where there is none.
func (l *Log) open(path string) bool {
	if l.closed {
		l.openErr = os.ErrClosed
		return false
	}
	if l.file != nil && !l.file.isAt(path) {
		if err := l.drop(); err != nil {
			l.logger.Warn("cannot close the former audit log", "error", err)
		}
	}
	if path == "" {
		l.openErr, l.writeErr, l.lost = nil, nil, 0
		return false
	}
	if l.file == nil {
		l.file, l.openErr = openFile(path)
	}
	return l.openErr == nil
}

func (l *Log) drop() error {
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// lose counts a line, and says so now and then.
func (l *Log) lose() {
	l.lost++
	if now := time.Now(); now.Sub(l.complained) >= complainEvery {
		l.complained = now
		l.logger.Error("the audit log cannot be written, commands are carried out without it", "error", l.err(), "lost", l.lost)
	}
}

func (l *Log) err() error {
	if l.openErr != nil {
		return l.openErr
	}
	return l.writeErr
}
