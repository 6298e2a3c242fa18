package main

import (
	"bytes"
	"strings"
	"sync"
)

// log is a buffer that tells when a line has been written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer // owned by mu
	// waiting is closed when text contains what.
	what    string
	waiting chan struct{}
}

func newLog(what string) *log { return &log{what: what, waiting: make(chan struct{})} }

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	had := strings.Contains(l.text.String(), l.what)
	l.text.Write(b)
	if !had && strings.Contains(l.text.String(), l.what) {
		close(l.waiting)
	}
	return len(b), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
