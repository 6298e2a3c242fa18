package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kita/spec"
)

// hammer is many clients that ask all the time; any answer but the right one
// fails the test.
type hammer struct {
	t       *testing.T
	in      *instance
	ctx     context.Context
	clients sync.WaitGroup
	asked   []*atomic.Int64
	kinds   []string
}

// add starts clients that call ask until the test ends.
func (h *hammer) add(kind string, clients int, ask func() error) {
	asked := new(atomic.Int64)
	h.asked, h.kinds = append(h.asked, asked), append(h.kinds, kind)
	for range clients {
		h.clients.Go(func() {
			for h.ctx.Err() == nil {
				if err := ask(); err != nil {
					h.t.Errorf("%s: %v", kind, err)
					return
				}
				asked.Add(1)
			}
		})
	}
}

// round waits until every kind was answered n times more.
func (h *hammer) round(n int64) {
	h.t.Helper()
	var want []int64
	for _, asked := range h.asked {
		want = append(want, asked.Load()+n)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for i := 0; i < len(h.asked); {
		if h.t.Failed() {
			h.t.FailNow()
		}
		if h.asked[i].Load() >= want[i] {
			i++
			continue
		}
		select {
		case <-tick.C:
		case <-timeout:
			h.t.Fatalf("%s is not answered any more", h.kinds[i])
		}
	}
}

// addAll adds a few clients of each kind.
func (h *hammer) addAll(metrics string) {
	in := h.in
	kept := &http.Transport{MaxIdleConnsPerHost: 4}
	h.t.Cleanup(kept.CloseIdleConnections)
	local := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", in.socket())
	}}
	h.t.Cleanup(local.CloseIdleConnections)
	get := func(transport *http.Transport, url string) func() error {
		client := &http.Client{Transport: transport, Timeout: patience}
		return func() error {
			response, err := client.Get(url)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s, %w", url, response.Status, err)
			}
			return nil
		}
	}
	h.add("TCP, kept connections", 2, get(kept, "http://"+in.tcp()+"/v1/children"))
	h.add("unix socket, kept connections", 2, get(local, "http://localhost/v1/info"))
	h.add("metrics", 1, get(kept, "http://"+metrics+"/metrics"))
	h.add("a connection each", 2, func() error {
		status, _, err := in.http("tcp", "GET", "/readyz", "", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("readyz says %d", status)
		}
		return err
	})
	h.add("text", 2, func() error {
		answer, err := in.exchange([]string{"info\n"}, false)
		if err == nil && !strings.HasSuffix(answer, "=======================\n") {
			err = fmt.Errorf("it says %q", answer)
		}
		return err
	})
	h.add("commands", 1, func() error {
		_, err := in.client().Do(context.Background(), spec.Command{Verb: spec.VerbTrystart, Child: "busy"})
		return err
	})
	h.add("text commands", 1, func() error {
		answer, err := in.exchange([]string{"restart steady\n"}, false)
		if err == nil && answer != "restart steady success" {
			err = fmt.Errorf("it says %q", answer)
		}
		return err
	})
}

// watchExits collects every exit that a watch tells of, over all upgrades.
func (h *hammer) watchExits(exits map[string]map[uint64]spec.Exit) {
	h.clients.Go(func() {
		for change, err := range h.in.client().Watch(h.ctx) {
			if err != nil {
				if h.ctx.Err() == nil {
					h.t.Errorf("watch: %v", err)
				}
				return
			}
			if name := change.View.Name; strings.HasPrefix(name, "job") {
				if exits[name] == nil {
					exits[name] = map[uint64]spec.Exit{}
				}
				for _, e := range change.View.Status.History {
					exits[name][e.Incarnation] = e
				}
			}
		}
	})
}

// jobCode is the exit code of a run of a job, as its file has it.
func jobCode(incarnation uint64) int { return int(3 + incarnation%200) }

const job = `
command: ["sh", "-c", "echo $KITA_CHILD $KITA_INCARNATION >>ledger; sleep 0.0$((KITA_INCARNATION % 7)); exit $((3 + KITA_INCARNATION % 200))"]
restart: {policy: always, backoff: {initial: 10ms, max: 20ms}}
`

// Clients of every kind hammer the server and children end all the time while
// one version follows the other: nobody is refused or told anything wrong, no
// child has a wrong exit code, and none ran twice.
func TestNobodyNoticesAnUpgrade(t *testing.T) {
	const jobs, upgrades = 12, 8
	children := map[string]string{"busy": sleeper, "steady": sleeper}
	for i := range jobs {
		children[fmt.Sprintf("job%d", i)] = job
	}
	in := newServer(t, "mode: full\n", children)
	binaries := []string{newVersion(t), filepath.Join(world.bin, "kita")}
	metrics := in.addMetrics(t)
	info := in.info(t)

	ctx, stop := context.WithCancel(t.Context())
	h := &hammer{t: t, in: in, ctx: ctx}
	exits := map[string]map[uint64]spec.Exit{}
	defer h.clients.Wait()
	defer stop()
	h.watchExits(exits)
	h.addAll(metrics)
	for n := range upgrades {
		h.round(3)
		if done := in.mustUpgrade(t, binaries[n%2]); done.PID != info.PID {
			t.Errorf("the PID %d became %d", info.PID, done.PID)
		}
	}
	h.round(5)
	stop()
	h.clients.Wait()
	if _, err := in.client().Do(t.Context(), spec.Command{Verb: spec.VerbStop, Child: spec.All}); err != nil {
		var refusal *spec.Refusal
		if !errors.As(err, &refusal) {
			t.Fatal(err)
		}
	}
	in.checkJobs(t, exits)
	for i, kind := range h.kinds {
		t.Logf("%s: %d answers", kind, h.asked[i].Load())
	}
}

// checkJobs compares what the jobs wrote down themselves with what is known of
// them.
func (in *instance) checkJobs(t *testing.T, exits map[string]map[uint64]spec.Exit) {
	t.Helper()
	ledger, err := os.ReadFile(in.path("children/ledger"))
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]uint64{}
	seen := map[string]bool{}
	for line := range strings.Lines(string(ledger)) {
		if seen[line] {
			t.Errorf("ran twice: %s", line)
		}
		seen[line] = true
		name, _, _ := strings.Cut(line, " ")
		runs[name]++
	}
	views, err := in.client().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		if !strings.HasPrefix(v.Name, "job") {
			continue
		}
		if v.Status.Starts != runs[v.Name] && v.Status.Starts != runs[v.Name]+1 {
			// One run may have been ended before it wrote its line.
			t.Errorf("%s has %d starts, %d are in its ledger", v.Name, v.Status.Starts, runs[v.Name])
		}
		wrong := 0
		for incarnation, e := range exits[v.Name] {
			if !e.Known || e.Signal != 0 || e.Code != jobCode(incarnation) {
				t.Errorf("%s, incarnation %d: %v, want exit %d", v.Name, incarnation, e, jobCode(incarnation))
				if wrong++; wrong > 3 {
					break
				}
			}
		}
		if len(exits[v.Name]) == 0 {
			t.Errorf("no exit of %s was seen", v.Name)
		}
	}
}
