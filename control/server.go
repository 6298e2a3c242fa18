package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"kita/control/keyring"
)

// Server serves the wire. Make one with NewServer, give it listeners with
// ServeTCP, ServeUnix and ServeMetrics, and end it with Close, or with HandOver
// where another Server carries on.
type Server struct {
	opt Options
	// uid is the server's own, whose processes may use the unix socket.
	uid int

	// The gate is asked before anything is done for anybody.
	*gate
	// keys are those that may connect, legacyKeys those of which old packets are
	// accepted, too.
	keys, legacyKeys *keyring.Ring

	answers      *api
	api          *http.Server
	apiConns     *handedOver
	metrics      *http.Server
	metricsConns *handedOver
	// handlers has what is done with a connection once its protocol is known.
	handlers map[protocol]func(context.Context, *conn)

	// base ends when answers in flight are to be given up, quit when Close
	// begins: watches and idle connections end then.
	base     context.Context
	giveUp   context.CancelFunc
	quit     context.Context
	quitting context.CancelFunc
	// handing ends when HandOver begins: what waits is interrupted then.
	handing    context.Context
	handingOut context.CancelFunc

	// overTCP, overUnix and overMetrics are how the listeners' connections come.
	overTCP, overUnix, overMetrics transport
	// channelSlots has room for the SSH channels of all connections.
	channelSlots chan struct{}
	guests       guests
	startHTTP    sync.Once
	// tasks are the goroutines: accept loops, connections until they are
	// handed over, HTTP servers.
	tasks sync.WaitGroup
	// accepting are the accept loops among them.
	accepting sync.WaitGroup

	mu        sync.Mutex
	closed    bool                      // owned by mu
	leaving   bool                      // owned by mu: HandOver has begun
	handed    []Handed                  // owned by mu
	lost      int                       // owned by mu: could not be handed over
	empty     chan struct{}             // owned by mu: closed once no conns are left, nil unless HandOver waits
	listeners map[net.Listener]struct{} // owned by mu
	conns     map[*conn]struct{}        // owned by mu: those not yet closed

	refused, displaced, unadmitted, panics atomic.Uint64
	refusedLog, displacedLog, acceptLog    seldom
	packetLog                              seldom
}

// Stats counts what happened to connections.
type Stats struct {
	// Open connections now, without the channels of those that speak SSH.
	Open int
	// Since the start: Refused at the cap, Displaced by newer ones while they
	// waited, Unadmitted as they proved no key that is admitted, and Panics
	// contained.
	Refused, Displaced, Unadmitted, Panics uint64
}

// NewServer makes a server that serves nothing yet. opt.Service is required.
func NewServer(opt Options) *Server {
	opt = opt.withDefaults()
	s := &Server{
		opt:          opt,
		uid:          os.Geteuid(),
		apiConns:     newHandedOver(),
		metricsConns: newHandedOver(),
		channelSlots: make(chan struct{}, opt.MaxTCP),
		guests:       guests{present: map[*conn]*guest{}, keys: map[string]*keyUse{}},
		listeners:    map[net.Listener]struct{}{},
		conns:        map[*conn]struct{}{},
	}
	s.overTCP = transport{
		network: viaTCP, slots: make(chan struct{}, opt.MaxTCP), encrypt: opt.Encrypt,
		crowd: newCrowd(crowdCaps{waiting: opt.MaxWaiting, waitingPerAddress: opt.MaxWaitingPerAddress, perAddress: opt.MaxPerAddress}),
	}
	s.overUnix = transport{network: viaUnix, slots: make(chan struct{}, opt.MaxUnix), checkUID: true}
	s.overMetrics = transport{network: viaTCP, slots: make(chan struct{}, maxMetrics), crowd: newCrowd(capsOfMetrics)}
	s.base, s.giveUp = context.WithCancel(context.Background())
	s.quit, s.quitting = context.WithCancel(s.base)
	s.handlers = map[protocol]func(context.Context, *conn){
		protocolHTTP: s.serveHTTP,
		protocolSSH:  s.serveSSH,
		protocolText: s.serveText,
	}
	s.handing, s.handingOut = context.WithCancel(context.Background())
	s.keys, s.legacyKeys = newKeys(opt), newLegacyKeys(opt)
	s.gate = newGate(opt, s.keyProblems)
	s.answers = newAPI(opt, s.observed(), s.gate, s.quit, s.count)
	s.api = s.newHTTPServer(s.answers.handler())
	s.metrics = s.newHTTPServer(metricsOnly(opt))
	for _, problem := range s.keyProblems() {
		opt.Logger.Warn("a key cannot be used", "problem", problem)
	}
	return s
}

// count counts a panic that a handler contained.
func (s *Server) count() { s.panics.Add(1) }

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Refused: s.refused.Load(), Displaced: s.displaced.Load(), Unadmitted: s.unadmitted.Load(), Panics: s.panics.Load()}
	for c := range s.conns {
		if c.transport.network != viaSSH {
			stats.Open++
		}
	}
	return stats
}

// ServeTCP accepts connections of every protocol until ctx ends, Close is
// called or ln is closed, which it always is when ServeTCP returns, unless
// HandOver ended it. Answers in flight go on; Close waits for them.
func (s *Server) ServeTCP(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, s.overTCP)
}

// ServeUnix is ServeTCP for the unix socket: only processes of root and of the
// server's own user are served, in plain text whatever Options.Encrypt says.
func (s *Server) ServeUnix(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, s.overUnix)
}

// ServeMetrics serves /metrics and nothing else, under any host name, until ctx
// ends or Close is called.
func (s *Server) ServeMetrics(ctx context.Context, ln net.Listener) error {
	if !s.begin(ln) {
		return http.ErrServerClosed
	}
	defer s.end(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	err := s.metrics.Serve(&cappedListener{Listener: ln, s: s})
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close stops accepting, ends watches and idle connections, and waits for the
// answers in flight until ctx ends; then it gives them up. No goroutine of the
// server is left when it returns, unless one has a defect, which is logged.
// Called again it does nothing.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	listeners := s.listeners
	s.listeners = nil
	for c := range s.conns {
		// Wakes those that wait for a request; their reads fail from now on.
		c.interrupt()
	}
	s.mu.Unlock()

	s.quitting()
	for ln := range listeners {
		_ = ln.Close()
	}
	_ = s.apiConns.Close()
	_ = s.metricsConns.Close()
	err := errors.Join(s.api.Shutdown(ctx), s.metrics.Shutdown(ctx), s.drain(ctx))
	s.breakOff()
	return err
}

// breakOff ends whatever is left.
func (s *Server) breakOff() {
	s.giveUp()
	_ = s.api.Close()
	_ = s.metrics.Close()
	s.closeConns()
	select {
	case <-s.ended():
	case <-time.After(lastWait):
		s.opt.Logger.Error("connections do not end, which is a defect; going on without them", "waited", lastWait)
	}
	s.recordRest()
	if err := s.audit.Close(); err != nil {
		s.opt.Logger.Warn("cannot close the audit log", "error", err)
	}
}

// lastWait is what goroutines have to end that have nothing left to wait for.
// Only a defect uses it up, and a defect must not keep the server from ending, or
// another version from taking over.
const lastWait = 10 * time.Second

// drain waits for every goroutine, until ctx ends.
func (s *Server) drain(ctx context.Context) error {
	select {
	case <-s.ended():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended is closed when every goroutine has ended.
func (s *Server) ended() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.tasks.Wait()
	}()
	return done
}

func (s *Server) closeConns() {
	s.mu.Lock()
	var open []*conn
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// begin registers a listener and the goroutine that serves it; false once the
// server is closed, and then ln is too.
func (s *Server) begin(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return false
	}
	if s.closed {
		_ = ln.Close()
		return false
	}
	s.listeners[ln] = struct{}{}
	s.tasks.Add(1)
	s.accepting.Add(1)
	s.beginHTTP()
	return true
}

// beginHTTP starts the HTTP servers; mu is held.
func (s *Server) beginHTTP() {
	s.startHTTP.Do(func() {
		s.tasks.Go(func() { _ = s.api.Serve(s.apiConns) })
		s.tasks.Go(func() { _ = s.metrics.Serve(s.metricsConns) })
	})
}

// end is the reverse of begin. A listener that is handed over stays open.
func (s *Server) end(ln net.Listener) {
	if !s.isLeaving() {
		_ = ln.Close()
	}
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	s.accepting.Done()
	s.tasks.Done()
}

// seldom lets through one in ten seconds, so that a flood does not fill a log.
type seldom struct{ last atomic.Int64 }

func (s *seldom) allow(now time.Time) bool {
	last := s.last.Load()
	return now.UnixNano()-last >= int64(10*time.Second) && s.last.CompareAndSwap(last, now.UnixNano())
}
