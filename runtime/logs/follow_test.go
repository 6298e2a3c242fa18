package logs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kita/spec"
)

// followed is a request that is being followed, in a bubble of synctest.
type followed struct {
	cancel func()
	done   chan error

	mu     sync.Mutex
	chunks []spec.LogChunk // guarded by mu
}

func follow(t *testing.T, set Set, req spec.LogRequest) *followed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &followed{cancel: cancel, done: make(chan error, 1)}
	var grep *regexp.Regexp
	if req.Grep != "" {
		grep = regexp.MustCompile(req.Grep)
	}
	req.Follow = true
	go func() {
		f.done <- Send(ctx, set, req, grep, time.Now(), func(c spec.LogChunk) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.chunks = append(f.chunks, c)
			return nil
		})
	}()
	return f
}

// take waits until nothing more happens, and returns what was sent since the
// last take, without the times and what only says where a source goes on.
func (f *followed) take() string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, c := range f.chunks {
		c.Time = time.Time{}
		if line := shown(c); line != c.Source {
			all = append(all, line)
		}
	}
	f.chunks = nil
	return strings.Join(all, "\n")
}

// end ends the request.
func (f *followed) end(t *testing.T) {
	t.Helper()
	f.cancel()
	if err := <-f.done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func (f *followed) expect(t *testing.T, want ...string) {
	t.Helper()
	if got, want := f.take(), strings.Join(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("one\n")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{})
		r.expect(t, `web/out out "one\n"`, "caught up")
		f.write(time.Now(), "two\n")
		r.expect(t, `web/out out "two\n"`)
		f.write(time.Now(), "three\nfo")
		r.expect(t, `web/out out "three\n"`)
		f.write(time.Now(), "ur\n")
		r.expect(t, `web/out out "four\n"`)
		r.end(t)
		if open, _, _ := f.readers(); open != 0 || f.subscribers() != 0 {
			t.Errorf("%d files are open, %d subscriptions are left", open, f.subscribers())
		}
	})
}

func TestAnUnfinishedLineIsSentAfterASecondOfQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("pass")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{})
		r.expect(t, "caught up")
		time.Sleep(quietTime - time.Millisecond)
		f.write(time.Now(), "word: ")
		r.expect(t)
		time.Sleep(quietTime - time.Millisecond)
		r.expect(t)
		time.Sleep(time.Millisecond)
		r.expect(t, `web/out out "password: " partial`)
		time.Sleep(time.Hour)
		r.expect(t)
		f.write(time.Now(), "x\nnext\n")
		r.expect(t, `web/out out "x\n"`, `web/out out "next\n"`)
		r.end(t)
	})
}

func TestAnUnfinishedLineIsNotMatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{Grep: "^ab$"})
		f.write(time.Now(), "ab")
		time.Sleep(time.Hour)
		r.expect(t, "caught up")
		f.write(time.Now(), "c\nab")
		time.Sleep(time.Hour)
		r.expect(t)
		f.write(time.Now(), "\n")
		r.expect(t, `web/out out "ab\n"`)
		r.end(t)
	})
}

func TestAnIdleSourceHasNoOpenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("one\nun")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{})
		for range 3 {
			r.take()
			if open, _, _ := f.readers(); open != 0 {
				t.Errorf("%d files are open", open)
			}
			f.write(time.Now(), "more\nun")
		}
		r.end(t)
	})
}

func TestWhatIsLostIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("one\n")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{})
		r.expect(t, `web/out out "one\n"`, "caught up")
		f.grow("two\nthree\n", 8).write(time.Now(), "four\n")
		r.expect(t, `web/out out lost 4 "three\nfour\n"`)
		f.grow("five\n", 24).write(time.Now(), "")
		r.expect(t, `web/out lost 5`)
		r.end(t)
	})
}

func TestALineIsCutWhereBytesAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("half of a")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{})
		time.Sleep(2 * quietTime)
		r.expect(t, "caught up", `web/out out "half of a" partial`)
		f.grow(" line\n", 15).write(time.Now(), "next\n")
		r.expect(t, `web/out out lost 6 "next\n"`)
		r.end(t)
	})
}

func TestALineBehindALossIsJudgedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(strings.Repeat("x", 2*chunkSize))
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{Grep: "yes"})
		r.expect(t, "caught up")
		f.grow("\nyes\n", 2*chunkSize+1).write(time.Now(), "")
		r.expect(t, `web/out out lost 1 "yes\n"`)
		r.end(t)
	})
}

// twiceLost is a source of which more is removed just behind each loss.
type twiceLost struct{ *fake }

func (s twiceLost) Open(from uint64) (Reader, error) {
	r, err := s.fake.Open(from)
	return &twiceLostReader{Reader: r, f: s.fake}, err
}

type twiceLostReader struct {
	Reader
	f *fake
}

func (r *twiceLostReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	var lost *LostError
	if errors.As(err, &lost) && lost.To == 4 {
		r.f.remove(8)
	}
	return n, err
}

func TestLossesInARowAreAddedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: twiceLost{f}}}, spec.LogRequest{})
		r.expect(t, "caught up")
		f.grow("one\ntwo\nsix\n", 4).write(time.Now(), "")
		r.expect(t, `web/out out lost 8 "six\n"`)
		r.end(t)
	})
}

func TestAnUnfinishedLineThatGrewUnnoticedIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("un")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{})
		r.expect(t, "caught up")
		f.grow("fin", 0)
		time.Sleep(quietTime)
		r.expect(t)
		time.Sleep(quietTime)
		r.expect(t, `web/out out "unfin" partial`)
		r.end(t)
	})
}

func TestACursorOfAnotherFileGoesOnByItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		f := newFake("").write(now.Add(-time.Hour), "old\n").write(now, "missed\n")
		for name, c := range map[string]cursor{
			"another identity":   {pos: 1, place: atLine, at: now.Add(-time.Minute), identity: "other"},
			"out of bounds":      {pos: 100, place: atLine, at: now.Add(-time.Minute), identity: identityOf(f)},
			"within what is not": {pos: 1, place: inHidden, at: now.Add(-time.Minute), identity: "other"},
		} {
			r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{After: map[string]string{"web/out": c.String()}})
			if got, want := r.take(), "web/out out \"missed\\n\"\ncaught up"; got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
			}
			r.end(t)
		}
	})
}

func TestBusySourcesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big, small := newFake(""), newFake("")
		r := follow(t, fixed{{Child: "big", Streams: onlyOut, Source: big}, {Child: "small", Streams: onlyOut, Source: small}}, spec.LogRequest{})
		r.expect(t, "caught up")
		// The reader is held up until both have written.
		r.mu.Lock()
		big.write(time.Now(), strings.Repeat("line\n", 10*chunkSize/5))
		small.write(time.Now(), "small\n")
		r.mu.Unlock()
		synctest.Wait()
		r.mu.Lock()
		place := -1
		for i, c := range r.chunks {
			if c.Child == "small" {
				place = i
			}
		}
		r.mu.Unlock()
		if place < 0 || place > 2 {
			t.Errorf("the small source's line is chunk %d", place)
		}
		r.end(t)
	})
}

func TestPositionsThatStartAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("one\ntwo\n")
		r := follow(t, fixed{{Child: "web", Streams: onlyOut, Source: f}}, spec.LogRequest{})
		r.expect(t, `web/out out "one\ntwo\n"`, "caught up")
		f.mu.Lock()
		f.data, f.identity = []byte("new\n"), "b"
		f.mu.Unlock()
		f.write(time.Now(), "")
		r.expect(t, `web/out out "new\n"`)
		r.end(t)
	})
}

func TestASourceThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, well := newFake("one\n"), newFake("")
		set := fixed{{Child: "a", Streams: onlyOut, Source: broken}, {Child: "b", Streams: onlyOut, Source: well}}
		broken.fail(errors.New("input/output error"))
		r := follow(t, set, spec.LogRequest{})
		r.expect(t, "caught up")
		well.write(time.Now(), "well\n")
		r.expect(t, `b/out out "well\n"`)
		broken.fail(nil)
		broken.write(time.Now(), "two\n")
		r.expect(t, `a/out out "one\ntwo\n"`)
		broken.fail(errors.New("input/output error"))
		well.fail(errors.New("permission denied"))
		broken.write(time.Now(), "three\n")
		well.write(time.Now(), "three\n")
		want := "the output of a/out: input/output error\nthe output of b/out: permission denied"
		if err := <-r.done; err == nil || err.Error() != want {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestManySourcesAreOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set fixed
		for i := range 10000 {
			set = append(set, Named{Child: fmt.Sprintf("c%05d", i), Streams: onlyOut, Source: newFake("old\n")})
		}
		none := 0
		before := runtime.NumGoroutine()
		r := follow(t, set, spec.LogRequest{Tail: &none})
		r.expect(t, "caught up")
		if more := runtime.NumGoroutine() - before; more > 1 {
			t.Errorf("it takes %d goroutines", more)
		}
		for _, n := range set {
			n.Source.(*fake).write(time.Now(), "new\n")
		}
		if got := strings.Count(r.take(), "\n") + 1; got != len(set) {
			t.Errorf("%d lines arrived", got)
		}
		// An idle source is not even asked.
		_, opened, _ := set[0].Source.(*fake).readers()
		time.Sleep(time.Hour)
		r.expect(t)
		if _, now, _ := set[0].Source.(*fake).readers(); now != opened {
			t.Errorf("an idle file was opened %d times", now-opened)
		}
		r.end(t)
	})
}
