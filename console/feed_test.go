package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kita/control"
	"kita/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type closer struct{}

func (closer) Close() error { return nil }

// at is a host with a server at an address.
func at(name, address string) Host {
	return Host{Name: name, Dial: func(context.Context) (*control.Client, io.Closer, error) {
		return control.Dial(control.Target{TCP: address}), closer{}, nil
	}}
}

// told are news in words.
func told(n News) string {
	switch {
	case n.Err != nil:
		return fmt.Sprintf("%d down", n.Host)
	case n.Up:
		return fmt.Sprintf("%d up", n.Host)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", n.Host, n.Change.Type, n.Change.View.Name))
}

// A stream that ends is gone on with, and nothing is said of it but what has
// changed meanwhile. That a server is not there is said once.
func TestFeedGoesOnBeyondTheEndOfAStream(t *testing.T) {
	streams := [][]string{{"present a", "present b", "synced"}, {"present a", "synced"}}
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1)) - 1
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, line := range streams[min(n, len(streams)-1)] {
			kind, name, _ := strings.Cut(line, " ")
			_ = json.NewEncoder(w).Encode(spec.Change{Type: spec.ChangeType(kind), View: spec.View{Name: name}})
		}
		_ = http.NewResponseController(w).Flush()
		if n > 0 {
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	feed := NewFeed([]Host{at("h1", server.Listener.Addr().String())}, "", time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		feed.Follow(ctx)
	}()
	var got []string
	collect := func(until string, times int) {
		for countOf(until, got) < times {
			news := feed.Next(ctx)
			if news == nil {
				t.Fatalf("no %q within a minute, but %q", until, got)
			}
			for _, n := range news {
				got = append(got, told(n))
			}
		}
	}
	collect("0 synced", 2)
	want := []string{"0 up", "0 present a", "0 present b", "0 synced", "0 up", "0 present a", "0 removed b", "0 synced"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if feed.Client(0) == nil {
		t.Error("a host that answers has no client")
	}
	server.CloseClientConnections()
	server.Close()
	collect("0 down", 1)
	if feed.Client(0) != nil {
		t.Error("a host that does not answer has a client")
	}
	cancel()
	<-followed
	if news := feed.Next(ctx); news != nil && told(news[0]) != "0 down" {
		t.Errorf("after the end there is %v", news)
	}
}

// A host whose stream has ended, and that says nothing when it is asked again, is told
// of while it is still being asked: when it answers, it is back.
func TestFeedTellsOfAHostThatHangs(t *testing.T) {
	var asked atomic.Int64
	hangs := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if n == 2 {
			select {
			case <-hangs:
			case <-r.Context().Done():
				return
			}
		}
		_ = json.NewEncoder(w).Encode(spec.Change{Type: spec.Synced})
		_ = http.NewResponseController(w).Flush()
		if n > 1 {
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	feed := NewFeed([]Host{at("h1", server.Listener.Addr().String())}, "", time.Minute)
	feed.shortly = time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		feed.Follow(ctx)
	}()
	var got []string
	collect := func(until string, times int) {
		for countOf(until, got) < times {
			news := feed.Next(ctx)
			if news == nil {
				t.Fatalf("no %q within a minute, but %q", until, got)
			}
			for _, n := range news {
				got = append(got, told(n))
			}
		}
	}
	collect("0 down", 1)
	if feed.Client(0) != nil {
		t.Error("a host that does not answer has a client")
	}
	close(hangs)
	collect("0 synced", 2)
	want := []string{"0 up", "0 synced", "0 down", "0 up", "0 synced"}
	if n := asked.Load(); !slices.Equal(got, want) || n != 2 {
		t.Errorf("got %q from %d streams, want %q from 2", got, n, want)
	}
	cancel()
	<-followed
}

func countOf(what string, list []string) (n int) {
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}
