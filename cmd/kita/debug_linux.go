package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	goruntime "runtime"
	"strconv"
	"time"
)

// debugPatience is what a client of the debug address has for its question.
const debugPatience = 5 * time.Second

// debugAddr is what --debug-addr says; not valid where it is not given. It must
// be of this machine alone: a profile is told to whoever asks.
func (o serveOptions) debugAddr() (netip.AddrPort, error) {
	if o.debug == "" {
		return netip.AddrPort{}, nil
	}
	addr, err := netip.ParseAddrPort(o.debug)
	if err != nil || !addr.Addr().IsLoopback() {
		return addr, usagef("--debug-addr %s: give an address of this host alone, such as 127.0.0.1:6060", o.debug)
	}
	return addr, nil
}

// serveDebug serves profiles of this process until end is called. That it cannot
// is logged: no child should do without its server for that.
func serveDebug(addr netip.AddrPort, logger *slog.Logger) (end func()) {
	ln, err := net.Listen("tcp", addr.String())
	if err = explainListen("--debug-addr", addr.String(), err); err != nil {
		logger.Error("there are no profiles", "err", err)
		return func() {}
	}
	keepProfile()
	logger.Warn("every user of this host can read profiles of the server", "url", fmt.Sprintf("http://%s/debug/pprof/", ln.Addr()))
	server := &http.Server{Handler: debugHandler(), ReadHeaderTimeout: debugPatience, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln)
	}()
	return func() {
		_ = server.Close()
		<-ended
	}
}

// debugHandler is net/http/pprof without what is of no use here. A name that a
// foreign web page chose for this address gets nothing, and no such page sets
// anything.
func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("POST /debug/pprof/mutex", setRate(func(rate int) { goruntime.SetMutexProfileFraction(rate) }))
	mux.HandleFunc("POST /debug/pprof/block", setRate(goruntime.SetBlockProfileRate))
	ownPages := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackName(r.Host) {
			http.Error(w, "ask 127.0.0.1 or localhost", http.StatusMisdirectedRequest)
			return
		}
		ownPages.ServeHTTP(w, r)
	})
}

// setRate says with rate=N how much of a profile is sampled from here on: without
// it there is nothing in it, and 0 ends it.
func setRate(set func(rate int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rate, err := strconv.Atoi(r.URL.Query().Get("rate"))
		if err != nil || rate < 0 {
			http.Error(w, "rate is no number from 0 on", http.StatusBadRequest)
			return
		}
		set(rate)
		w.WriteHeader(http.StatusNoContent)
	}
}

// isLoopbackName tells whether a Host header names this host by its loopback
// address.
func isLoopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
