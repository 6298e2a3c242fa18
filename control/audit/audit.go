// Package audit is the log of who asked a server for what: a line of JSON for
// every command, and for every connection that was refused.
//
// Package control writes to it. A log that cannot be written never keeps a
// command from being carried out: Err says so, and the server's own log does.
package audit

import (
	"log/slog"
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
	// "metrics"; "connect" for a connection that came to no command.
	Verb  string `json:"verb"`
	Child string `json:"child,omitempty"`
	// Result is "ok" or the code of the refusal.
	Result string `json:"result"`
	// Detail is the refusal in words.
	Detail string `json:"detail,omitempty"`
}

// Log appends events to a file. Its methods may be called from many goroutines
// at once.
type Log struct {
	path   func() string
	logger *slog.Logger
}

// New makes a log in the file that path returns at each event, "" for none.
func New(path func() string, logger *slog.Logger) *Log { return &Log{path: path, logger: logger} }

// Write appends an event.
func (l *Log) Write(e Event) {}

// Err is why the last event could not be written; nil when it was.
func (l *Log) Err() error { return nil }

// Close closes the file.
func (l *Log) Close() error { return nil }
