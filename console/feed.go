package console

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"kita/control"
	"kita/spec"
)

// Host is a server that is looked at.
type Host struct {
	// Name is shown where there are several.
	Name string
	// Dial makes a client of it; the closer frees what that took. It is called
	// again when the way has broken.
	Dial func(ctx context.Context) (*control.Client, io.Closer, error)
}

// News is something that was learned of a host. Either Err is set: it does not
// answer, and is tried again; or Up is: it answers again, or for the first time;
// or Change is.
type News struct {
	Host   int
	Up     bool
	Err    error
	Change spec.Change
}

// The waits between the attempts to reach a host, as of control.FollowLogs.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// shortly is how long a host whose stream has ended may take to begin the next one
// without a word: an upgrade takes less, and who looks at the screen must not take what
// was for what is.
const shortly = 5 * time.Second

// mostNews is how much Next returns at once.
const mostNews = 4096

// Feed follows the children of some hosts.
type Feed struct {
	hosts []Host
	// child is the one that is followed; empty: all are.
	child    string
	patience time.Duration
	shortly  time.Duration
	news     chan News

	mu      sync.Mutex
	clients []*control.Client // owned by mu; nil of one that does not answer
}

// NewFeed makes a feed of one child, or of all where child is empty, which Follow
// runs. patience is how long a host may take to begin; one that takes longer does not
// answer.
func NewFeed(hosts []Host, child string, patience time.Duration) *Feed {
	return &Feed{hosts: hosts, child: child, patience: patience, shortly: shortly, news: make(chan News, 64), clients: make([]*control.Client, len(hosts))}
}

// Follow follows every host until ctx ends, and returns when nothing of that is
// left.
func (f *Feed) Follow(ctx context.Context) {
	var hosts sync.WaitGroup
	for i := range f.hosts {
		hosts.Go(func() { f.follow(ctx, i) })
	}
	hosts.Wait()
}

// Next waits for news and returns all that there are, in their order; nil when
// ctx has ended.
func (f *Feed) Next(ctx context.Context) []News {
	var all []News
	select {
	case n := <-f.news:
		all = append(all, n)
	case <-ctx.Done():
		return nil
	}
	for len(all) < mostNews {
		select {
		case n := <-f.news:
			all = append(all, n)
		default:
			return all
		}
	}
	return all
}

// Client is a client of the host, nil while it does not answer.
func (f *Feed) Client(host int) *control.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clients[host]
}

func (f *Feed) setClient(host int, c *control.Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clients[host] = c
}

// follow follows one host until ctx ends.
func (f *Feed) follow(ctx context.Context, host int) {
	known := map[string]bool{}
	wait, failures := time.Duration(0), 0
	// lost is why the stream before ended, nil where there was none.
	var lost error
	for {
		heard := f.late(ctx, host, lost)
		answered, err := f.watch(ctx, host, known, func() { heard() })
		f.setClient(host, nil)
		told := heard()
		if ctx.Err() != nil {
			return
		}
		if answered {
			wait, failures, lost = 0, 0, err
		} else {
			failures++
			lost = nil
		}
		// The end of a stream alone says nothing: after an upgrade the next server
		// is there at once.
		if failures == 1 && !told && !f.send(ctx, News{Host: host, Err: err}) {
			return
		}
		wait = min(max(2*wait, firstRetry), lastRetry)
		if !pause(ctx, wait) {
			return
		}
	}
}

// late tells that a host does not answer, where it was lost and does not begin again
// shortly. It is tried all the same: one that is slow comes back. heard ends that, and
// says whether it was told.
func (f *Feed) late(ctx context.Context, host int, lost error) (heard func() (told bool)) {
	if lost == nil {
		return func() bool { return false }
	}
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan bool, 1)
	go func() { told <- pause(ctx, f.shortly) && f.send(ctx, News{Host: host, Err: lost}) }()
	return sync.OnceValue(func() bool {
		cancel()
		return <-told
	})
}

// errEnded is of a stream that ended without saying why.
var errEnded = errors.New("the stream of changes ended")

// watch follows one stream to its end. known are the children that were told of,
// also of earlier streams; what is missing in this one has been removed meanwhile.
// heard is called before the first news of it.
func (f *Feed) watch(ctx context.Context, host int, known map[string]bool, heard func()) (answered bool, err error) {
	client, closer, err := f.hosts[host].Dial(ctx)
	if err != nil {
		return false, err
	}
	defer closer.Close()
	defer client.Close()
	missing := map[string]bool{}
	for name := range known {
		missing[name] = true
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(f.patience, cancel)
	defer late.Stop()
	for change, err := range client.WatchClosely(watching, f.child) {
		if watching.Err() != nil && ctx.Err() == nil {
			err = &control.Unreachable{Host: client.String(), Err: context.DeadlineExceeded}
		}
		if err != nil {
			return answered, err
		}
		late.Stop()
		if !answered {
			answered = true
			heard()
			f.setClient(host, client)
			if !f.send(ctx, News{Host: host, Up: true}) {
				return true, ctx.Err()
			}
		}
		name := change.View.Name
		switch change.Type {
		case spec.Present:
			known[name] = true
			delete(missing, name)
		case spec.Removed:
			delete(known, name)
			delete(missing, name)
		case spec.Synced:
			for name := range missing {
				delete(known, name)
				if !f.send(ctx, News{Host: host, Change: spec.Change{Type: spec.Removed, View: spec.View{Name: name}}}) {
					return true, ctx.Err()
				}
			}
			missing = nil
		}
		if !f.send(ctx, News{Host: host, Change: change}) {
			return true, ctx.Err()
		}
	}
	return answered, errEnded
}

// send is false where ctx ended first.
func (f *Feed) send(ctx context.Context, n News) bool {
	select {
	case f.news <- n:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause is false where ctx ended first.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
