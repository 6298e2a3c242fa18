package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// watch streams the changes, a JSON object a line, and an empty line whenever
// nothing changed for a while, so that both sides notice when the other is
// gone. A client that does not read within Timing.Write is cut off; the Service
// coalesces meanwhile, so it costs nobody anything.
func (a *api) watch(w http.ResponseWriter, r *http.Request, _ []byte) {
	a.writeWithin(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	stream := http.NewResponseController(w)
	if r.Method == http.MethodHead || stream.Flush() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	changes := a.svc.Watch(ctx)
	heartbeat := time.NewTicker(a.opt.Timing.Heartbeat)
	defer heartbeat.Stop()
	for {
		var line []byte
		select {
		case change, open := <-changes:
			if !open {
				return
			}
			encoded, err := json.Marshal(change)
			if err != nil {
				a.opt.Logger.Error("cannot encode a change", "child", change.View.Name, "error", err)
				return
			}
			line = encoded
			heartbeat.Reset(a.opt.Timing.Heartbeat)
		case <-heartbeat.C:
		case <-a.quit.Done():
			return
		case <-ctx.Done():
			return
		}
		a.writeWithin(w)
		if _, err := w.Write(append(line, '\n')); err != nil || stream.Flush() != nil {
			return
		}
	}
}
