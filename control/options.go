package control

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/crypto/ssh"

	"kita/spec"
)

// Options of NewServer. Only Service is required.
type Options struct {
	Service Service
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// Metrics answers /metrics; without it the path does not exist.
	Metrics http.Handler
	// ObserveCommand hears of every command carried out: its verb, and "ok" or
	// the code of its refusal.
	ObserveCommand func(verb, result string)
	// Upgrade checks another binary, "" for the one that runs, and has it take
	// over. It returns only when that is refused, with a *spec.Refusal, or with
	// ctx: the answer to an upgrade is the next server's, see Resume. Without it
	// the path does not exist.
	Upgrade func(ctx context.Context, binary, by string) error
	// Encrypt: over TCP nothing but SSH is served. The unix socket is not
	// concerned.
	Encrypt bool
	// Config is server.yml as it is in force now: where the keys are, what each
	// may do, where the audit log is. It is called for each connection and each
	// request; nil means the defaults.
	Config func() *spec.Server
	// Port and MetricsPort are those that are listened on, which Config may have
	// otherwise by now; 0 is none.
	Port, MetricsPort int
	// HostKey is what the server proves itself with over SSH; without it SSH is
	// refused.
	HostKey ssh.Signer
	// Exec carries out a command line that came over SSH and returns its exit
	// status; without it such are refused.
	Exec func(ctx context.Context, e Exec) (status int)
	// AllowedHosts are names under which this server may be asked over HTTP,
	// besides IP addresses, localhost and the machine's own name.
	AllowedHosts []string
	// MaxTCP and MaxUnix cap the open connections; 0 means 1,024 and 2,048. Beyond
	// MaxTCP one gives way that is kept for another request. One cap
	// does not use up the other, so a flooded port leaves the local commands
	// working. The listener of the metrics has 128 of its own.
	MaxTCP, MaxUnix int
	// MaxWaiting caps the connections over TCP that wait: they have not sent a
	// whole request that is let through, nor authenticated. MaxWaitingPerAddress
	// caps those of one address, for which a /64 of IPv6 counts. One more, and the
	// oldest of them is closed. 0 means 512 and 128.
	MaxWaiting, MaxWaitingPerAddress int
	// MaxPerAddress caps the open connections of one address; 0 means 512.
	MaxPerAddress int
	// Timing has the time limits; a zero field means its default.
	Timing Timing
}

// Exec is a command line that came over SSH, as from OpenSSH's client.
type Exec struct {
	// Line is as it came, at most 64 KiB.
	Line string
	// By says who asks, as in spec.Command.
	By             string
	Stdout, Stderr io.Writer
	// Dial opens a connection to the API of this server, with the rights of the
	// key that asks.
	Dial func(context.Context) (net.Conn, error)
}

// Timing has the time limits of a Server.
type Timing struct {
	// Request is how long a client has to send a whole request, from its first
	// chance to; default 10 s.
	Request time.Duration
	// Quiet is the silence that ends a request of the old text protocol which
	// makes sense as it is; default 100 ms. Old clients write a request at once
	// and then wait for the answer, so the silence only has to be longer than
	// the gap between two segments of one write.
	Quiet time.Duration
	// Patience is the silence that ends one which would be refused as it is,
	// but not with a few more words (`start`); default 1 s.
	Patience time.Duration
	// Idle is how long an HTTP connection is kept between requests; default 2 min.
	Idle time.Duration
	// Write is how long a client may take to read an answer, or one line of a
	// watch; default 30 s.
	Write time.Duration
	// Pause is how long a client may take to read one line of logs: a person looks
	// at what came before. Default 1 h.
	Pause time.Duration
	// Heartbeat is the longest silence of a watch and of logs; default 15 s.
	Heartbeat time.Duration
	// Linger is how long a client of the text protocol has to close after it
	// got its answer, and one of logs to take the end; default 1 s.
	Linger time.Duration
}

const (
	defaultMaxTCP               = 1024
	defaultMaxUnix              = 2048
	defaultMaxWaiting           = 512
	defaultMaxWaitingPerAddress = 128
	defaultMaxPerAddress        = 512
)

// maxMetrics caps the connections of the metrics listener.
const maxMetrics = 128

// capsOfMetrics bound its crowd, as the defaults do that of the others.
var capsOfMetrics = crowdCaps{waiting: maxMetrics / 2, waitingPerAddress: maxMetrics / 8, perAddress: maxMetrics / 2}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ObserveCommand == nil {
		o.ObserveCommand = func(string, string) {}
	}
	if o.Config == nil {
		o.Config = spec.DefaultServer
	}
	for _, cap := range []struct {
		value    *int
		fallback int
	}{
		{&o.MaxTCP, defaultMaxTCP},
		{&o.MaxUnix, defaultMaxUnix},
		{&o.MaxWaiting, defaultMaxWaiting},
		{&o.MaxWaitingPerAddress, defaultMaxWaitingPerAddress},
		{&o.MaxPerAddress, defaultMaxPerAddress},
	} {
		if *cap.value <= 0 {
			*cap.value = cap.fallback
		}
	}
	o.Timing = o.Timing.withDefaults()
	return o
}

func (t Timing) withDefaults() Timing {
	for _, field := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&t.Request, 10 * time.Second},
		{&t.Quiet, 100 * time.Millisecond},
		{&t.Patience, time.Second},
		{&t.Idle, 2 * time.Minute},
		{&t.Write, 30 * time.Second},
		{&t.Pause, time.Hour},
		{&t.Heartbeat, 15 * time.Second},
		{&t.Linger, time.Second},
	} {
		if *field.value <= 0 {
			*field.value = field.fallback
		}
	}
	return t
}
