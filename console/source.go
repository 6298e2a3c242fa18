package console

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"kita/control"
	"kita/spec"
)

// source is what Top asks of the hosts. Its methods block and are called by the
// commands of the model alone.
type source interface {
	// next waits for []News or an outputPiece; nil at the end.
	next() any
	// follow has the output of the child come as pieces of this number, in place
	// of what was followed before; a child of "" is none.
	follow(number int, key childKey)
	// usage asks what children of a host use now, nil for all of them.
	usage(host int, children []string) usages
	// do carries out a command.
	do(key childKey, verb spec.Verb) done
	// why says why a child is in the state that it is in.
	why(key childKey) whyAnswer
}

// The answers of a source.
type (
	outputPiece struct {
		number int
		lines  []string
		// rest is the beginning of a line whose end has not come.
		rest string
		err  error
	}
	usages struct {
		host     int
		children []spec.ChildUsage
		err      error
	}
	done struct {
		key  childKey
		verb spec.Verb
		out  spec.Outcome
		err  error
	}
	whyAnswer struct {
		key  childKey
		text string
		err  error
	}
)

// answerTime is how long a server may take to tell what is used, or why.
const answerTime = 10 * time.Second

// errAway is of a host that does not answer now.
var errAway = errors.New("its server does not answer now")

// WhyFunc says why a child of the host of that number is in its state.
type WhyFunc func(ctx context.Context, client *control.Client, host int, child string) (string, error)

// live is the source of a real fleet.
type live struct {
	ctx     context.Context // ends with the screen
	feed    *Feed
	whyFunc WhyFunc
	timeout time.Duration
	news    chan any

	mu   sync.Mutex
	stop context.CancelFunc // owned by mu: ends what is followed
	task sync.WaitGroup
}

// begin passes the news on until the context ends.
func (s *live) begin() {
	s.task.Go(func() {
		for {
			news := s.feed.Next(s.ctx)
			if news == nil {
				return
			}
			s.send(s.ctx, news)
		}
	})
}

// end waits for all that was begun; the context has ended.
func (s *live) end() { s.task.Wait() }

func (s *live) send(ctx context.Context, message any) bool {
	select {
	case s.news <- message:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *live) next() any {
	select {
	case message := <-s.news:
		return message
	case <-s.ctx.Done():
		return nil
	}
}

func (s *live) follow(number int, key childKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	if key.name == "" || s.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(s.ctx)
	s.stop = stop
	s.task.Go(func() { s.read(ctx, number, key) })
}

// read sends the last lines of a child, and what follows.
func (s *live) read(ctx context.Context, number int, key childKey) {
	client := s.feed.Client(key.host)
	if client == nil {
		s.send(ctx, outputPiece{number: number, err: errAway})
		return
	}
	tail := keptLines
	request := spec.LogRequest{Children: []string{key.name}, Follow: true, Tail: &tail}
	rests := map[string]string{}
	for chunk, err := range client.FollowLogs(ctx, request, nil) {
		if ctx.Err() != nil {
			return
		}
		piece := outputPiece{number: number, err: err}
		text := chunk.Text
		if text == "" {
			text = string(chunk.Bytes)
		}
		if text != "" {
			lines := strings.Split(rests[chunk.Source]+text, "\n")
			piece.rest = lines[len(lines)-1]
			piece.lines = lines[:len(lines)-1]
			if len(piece.rest) > longestLine {
				piece.rest = piece.rest[:longestLine]
			}
			rests[chunk.Source] = piece.rest
		}
		if (text != "" || err != nil || chunk.CaughtUp) && !s.send(ctx, piece) {
			return
		}
	}
}

func (s *live) usage(host int, children []string) usages {
	client := s.feed.Client(host)
	if client == nil {
		return usages{host: host, err: errAway}
	}
	ctx, cancel := context.WithTimeout(s.ctx, answerTime)
	defer cancel()
	found, err := client.Usage(ctx, children)
	return usages{host, found, err}
}

func (s *live) do(key childKey, verb spec.Verb) done {
	client := s.feed.Client(key.host)
	if client == nil {
		return done{key: key, verb: verb, err: errAway}
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	out, err := client.Do(ctx, spec.Command{Verb: verb, Child: key.name})
	return done{key, verb, out, err}
}

func (s *live) why(key childKey) whyAnswer {
	client := s.feed.Client(key.host)
	if client == nil {
		return whyAnswer{key: key, err: errAway}
	}
	ctx, cancel := context.WithTimeout(s.ctx, answerTime)
	defer cancel()
	text, err := s.whyFunc(ctx, client, key.host, key.name)
	return whyAnswer{key, text, err}
}
