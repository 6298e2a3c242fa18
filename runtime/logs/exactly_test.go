package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kita/spec"
)

// client is one that comes back with its cursors whenever its connection
// breaks.
type client struct {
	random *rand.Rand
	set    Set
	req    spec.LogRequest
	grep   *regexp.Regexp
	// take is given each chunk that arrives.
	take func(spec.LogChunk)
	// breaks is how many connections broke.
	breaks int
}

var errBroken = errors.New("the connection broke")

// run follows until ctx ends. Connections break at random, before a chunk
// arrives or behind it; a slow client has others wait.
func (c *client) run(ctx context.Context) error {
	c.req.Follow = true
	c.req.After = map[string]string{}
	for {
		// Send has its own copy, as over a wire.
		req := c.req
		req.After = maps.Clone(c.req.After)
		err := Send(ctx, c.set, req, c.grep, time.Now(), func(chunk spec.LogChunk) error {
			if c.random.IntN(10) == 0 {
				time.Sleep(time.Duration(c.random.IntN(2000)) * time.Millisecond)
			}
			if c.random.IntN(20) == 0 {
				c.breaks++
				return errBroken
			}
			if chunk.Source != "" {
				c.req.After[chunk.Source] = chunk.Next
			}
			c.take(chunk)
			if c.random.IntN(20) == 0 {
				c.breaks++
				return errBroken
			}
			return nil
		})
		if !errors.Is(err, errBroken) {
			return err
		}
		time.Sleep(time.Duration(c.random.IntN(500)) * time.Millisecond)
	}
}

// randomText is whole and unfinished lines, some long and some not UTF-8.
func randomText(random *rand.Rand, name string, number *int) string {
	var b strings.Builder
	for range random.IntN(20) {
		*number++
		fmt.Fprintf(&b, "%s %d", name, *number)
		switch random.IntN(40) {
		case 0:
			b.WriteString(strings.Repeat(" é", random.IntN(chunkSize)))
		case 1:
			b.WriteString("\xff")
		}
		b.WriteByte('\n')
	}
	text := b.String()
	return text[:len(text)-min(len(text), random.IntN(3))]
}

// scribble writes to f for a while, with pauses of up to two seconds, makes
// archives of it, and where it may removes the oldest bytes.
func scribble(random *rand.Rand, f *fake, name string, removes bool) {
	number := 0
	for range 60 {
		if random.IntN(2) == 0 {
			time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
		}
		f.write(time.Now(), randomText(random, name, &number))
		_, end := f.Bounds()
		switch random.IntN(8) {
		case 0:
			f.cut()
		case 1:
			if removes {
				f.remove(end - min(end, uint64(random.IntN(2*chunkSize))))
			}
		}
	}
}

// TestEveryByteArrivesOnceOrIsTold has writers, archives, losses, reads of any
// size, slow clients and connections that break, all at random.
func TestEveryByteArrivesOnceOrIsTold(t *testing.T) {
	breaks, lost := 0, uint64(0)
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			sources := map[string]*fake{}
			var set fixed
			for i := range 3 {
				f := newFake("")
				f.block = []int{0, 70, 5000}[random.IntN(3)]
				n := Named{Child: fmt.Sprintf("c%d", i), Streams: both, Source: f}
				set = append(set, n)
				sources[n.name()] = f
			}
			position := map[string]uint64{}
			c := &client{random: rand.New(rand.NewPCG(seed, 2)), set: set, take: func(chunk spec.LogChunk) {
				f := sources[chunk.Source]
				if f == nil {
					return
				}
				text := chunk.Bytes
				if text == nil {
					text = []byte(chunk.Text)
				}
				if len(text) > chunkSize {
					t.Errorf("a chunk has %d bytes", len(text))
				}
				lost += chunk.Lost
				from, known := position[chunk.Source]
				from += chunk.Lost
				if !known {
					// What was removed before the first chunk arrived was not asked for.
					next, err := parseCursor(chunk.Next)
					if err != nil {
						t.Error(err)
					}
					from = next.pos - uint64(len(text))
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				if to := from + uint64(len(text)); to > uint64(len(f.data)) || !bytes.Equal(text, f.data[from:to]) {
					t.Errorf("seed %d: %s sent %.50q, which is not what was written at %d", seed, chunk.Source, text, from)
				}
				position[chunk.Source] = from + uint64(len(text))
				if ends := bytes.HasSuffix(text, []byte("\n")); len(text) > 0 && ends == chunk.Partial {
					t.Errorf("a chunk ends with %q, partial %v", text[len(text)-1:], chunk.Partial)
				}
			}}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			for _, n := range set {
				go scribble(rand.New(rand.NewPCG(seed, 3+uint64(n.Child[1]))), n.Source.(*fake), n.Child, true)
			}
			go func() { done <- c.run(ctx) }()
			time.Sleep(time.Hour)
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			breaks += c.breaks
			for name, f := range sources {
				oldest, end := f.Bounds()
				if got := position[name]; got != end {
					t.Errorf("seed %d: %s was read up to %d of %d, oldest %d", seed, name, got, end, oldest)
				}
				if open, _, _ := f.readers(); open != 0 || f.subscribers() != 0 {
					t.Errorf("%s has %d files open and %d subscriptions", name, open, f.subscribers())
				}
			}
		})
		if t.Failed() {
			return
		}
	}
	if breaks == 0 || lost == 0 {
		t.Errorf("%d connections broke and %d bytes were lost, so nothing was shown", breaks, lost)
	}
}

// TestEveryLineThatMatchesArrivesOnce is the same for lines that are chosen.
func TestEveryLineThatMatchesArrivesOnce(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake("")
			f.block = 3000
			var got bytes.Buffer
			c := &client{
				random: rand.New(rand.NewPCG(seed, 2)), grep: regexp.MustCompile("[37]"),
				set: fixed{{Child: "web", Streams: both, Source: f}},
				take: func(chunk spec.LogChunk) {
					got.WriteString(chunk.Text)
					got.Write(chunk.Bytes)
				},
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go scribble(rand.New(rand.NewPCG(seed, 3)), f, "web", false)
			go func() { done <- c.run(ctx) }()
			time.Sleep(time.Hour)
			f.write(time.Now(), "\n") // the last line may have no end yet
			time.Sleep(time.Hour)
			cancel()
			<-done
			var want bytes.Buffer
			for line := range bytes.Lines(f.data) {
				if c.grep.Match(line[:min(len(line), chunkSize)]) {
					want.Write(line)
				}
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("seed %d: got %d bytes, want %d", seed, got.Len(), want.Len())
			}
		})
	}
}

// TestNothingIsMissedWhileTheConnectionIsBroken is about a child that is first
// seen after the client comes back, and asks for few of the last lines.
func TestNothingIsMissedWhileTheConnectionIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web, db := newFake("web\n"), newFake("")
		none := 0
		req := spec.LogRequest{Tail: &none, After: map[string]string{}}
		set := fixed{{Child: "web", Streams: onlyOut, Source: web}}
		r := follow(t, set, req)
		synctest.Wait()
		for _, chunk := range r.chunks {
			if chunk.Source != "" {
				req.After[chunk.Source] = chunk.Next
			}
		}
		r.expect(t, "caught up")
		r.end(t)
		time.Sleep(time.Minute)
		web.write(time.Now(), "more\n")
		db.write(time.Now(), "first\n")
		time.Sleep(time.Minute)
		r = follow(t, append(set, Named{Child: "db", Streams: onlyOut, Source: db}), req)
		r.expect(t, `web/out out "more\n"`, `db/out out "first\n"`, "caught up")
		r.end(t)
	})
}
