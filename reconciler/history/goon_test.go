package history

import (
	"context"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

// Who follows goes on at the next server behind the last event that came, over
// compactions, servers that end in the midst of it, and a clock that is set back before
// each event: nothing is missing, nothing comes twice.
func TestFollowersGoOnOverServers(t *testing.T) {
	dir := t.TempDir()
	last := uint64(0)
	since := time.Now()
	e := spec.Event{Child: "web", Type: spec.EventStarted, At: since, Message: strings.Repeat("x", 1000)}
	for server := range 4 {
		h := open(t, dir)
		r := spec.EventRequest{Children: []string{spec.All}, Follow: true, After: last}
		if server == 0 {
			r.Since = since.Add(-time.Hour)
		}
		ctx, cancel := context.WithCancel(t.Context())
		// The client keeps pace: what two compactions drop is missed by who does not.
		seen := make(chan uint64, 1)
		ended := make(chan error, 1)
		go func() {
			ended <- h.Send(ctx, r, anybody, func(batch []spec.Event) error {
				for _, e := range batch {
					switch {
					case e.Type == spec.EventCaughtUp && e.Seq != last:
						t.Errorf("server %d: caught up at %d, behind %d", server, e.Seq, last)
					case e.Type != spec.EventCaughtUp && e.Seq != last+1:
						t.Errorf("server %d: %d comes after %d", server, e.Seq, last)
					}
					last = e.Seq
				}
				select {
				case <-seen:
				default:
				}
				seen <- last
				return nil
			})
		}()
		<-seen // caught up
		for target := h.currentEpoch() + 2; h.currentEpoch() < target; {
			for range 500 {
				e.At = e.At.Add(-time.Minute)
				h.Add(e)
			}
			h.Flush(ctx)
			for came := uint64(0); came < h.latest(); {
				came = <-seen
			}
		}
		// The server ends with events that nobody has been sent.
		for range 100 {
			e.At = e.At.Add(-time.Minute)
			h.Add(e)
		}
		h.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		cancel()
	}
	if last == 0 {
		t.Error("nothing came")
	}
}
