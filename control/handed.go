package control

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// Stage is how far a connection had come when it was handed over.
type Stage string

const (
	// StageNew: what it speaks is not known, or its request is not complete.
	StageNew Stage = "new"
	// StageHTTP: it speaks HTTP and is between two requests, or within the head
	// of one.
	StageHTTP Stage = "http"
	// StageMetrics is StageHTTP on the listener of the metrics.
	StageMetrics Stage = "metrics"
	// StageCommand: an HTTP request waits for its command.
	StageCommand Stage = "command"
	// StageText: a request of the text protocol waits for its command.
	StageText Stage = "text"
	// StageWatch: the changes are streamed.
	StageWatch Stage = "watch"
	// StageUpgrade: the client asked for the upgrade and waits for its end.
	StageUpgrade Stage = "upgrade"
	// StageAnswered: the answer was written, and the client has not closed.
	StageAnswered Stage = "answered"
)

// Handed is a connection that another Server carries on: data but for its
// descriptor, which whoever has the Handed owns.
type Handed struct {
	FD      int    `json:"fd"`
	Network string `json:"network"`
	// Via and Key are how the client came and the key that it proved to own:
	// the next server does not ask for it again.
	Via string `json:"via,omitempty"`
	Key string `json:"key,omitempty"`
	// Peer is who that is in the audit log, also once the client has gone.
	Peer  string `json:"peer,omitempty"`
	Stage Stage  `json:"stage"`
	// Read are the bytes that came and are not answered.
	Read []byte `json:"read,omitempty"`
	// Ended: the client has closed its side.
	Ended bool `json:"ended,omitempty"`
	// Close: the connection is to be closed after the answer.
	Close bool `json:"close,omitempty"`
	// Chunked is how the lines of a watch are written.
	Chunked bool `json:"chunked,omitempty"`
	// Only is the one child that is watched; empty: all are.
	Only string `json:"only,omitempty"`
	// Heartbeat is what the client of a watch asked for; 0: nothing.
	Heartbeat time.Duration `json:"heartbeat,omitempty"`
	// Watched are the children that a watch has told of.
	Watched []string `json:"watched,omitempty"`
	// Pending is the command of StageCommand and StageText.
	Pending *spec.Pending `json:"pending,omitempty"`
}

// Drop closes the descriptor of a connection that nobody carries on.
func (h Handed) Drop() { _ = unix.Close(h.FD) }

// conn takes the descriptor.
func (h Handed) conn() (net.Conn, error) {
	f := os.NewFile(uintptr(h.FD), h.Network)
	defer f.Close()
	return net.FileConn(f)
}

// Descriptor returns a second descriptor of a connection or a listener, marked
// close-on-exec, which the caller owns.
func Descriptor(of any) (int, error) {
	sock, ok := of.(syscall.Conn)
	if !ok {
		return -1, errors.New("it has no descriptor")
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(from uintptr) { fd, dupErr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return -1, err
	}
	return fd, os.NewSyscallError("fcntl", dupErr)
}

// InheritListener makes the listener of a descriptor that a former Server was
// served on, or that a service manager made, and takes it. path is that of a unix
// socket which is removed when the listener is closed, "" for any other.
func InheritListener(fd int, path string) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	sock, ok := ln.(*net.UnixListener)
	if !ok || path == "" {
		return ln, nil
	}
	// Where it is gone there is nothing to remove in the end.
	made, _ := os.Lstat(path)
	return &unixListener{UnixListener: sock, path: path, made: made}, nil
}

// interruptible is a listener whose Accept can be ended without closing it.
type interruptible interface {
	SetDeadline(time.Time) error
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
