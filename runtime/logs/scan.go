package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"
)

// scan visits the lines that begin in the part of f's source from a to before
// b, each with the first chunkSize bytes of it that lie there, until visit
// returns false. It leaves f as it is.
func (f *feed) scan(ctx context.Context, a, b uint64, visit func(at *feed, line []byte) bool) error {
	s := &feed{Named: f.Named, pos: a, until: b}
	defer s.close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, p, err := s.next()
		if err != nil || p == nothing {
			return err
		}
		if !s.inLine && !visit(s, line) {
			return nil
		}
		s.take(len(line), p)
	}
}

// lineStart is the beginning of the line in which pos lies, at most chunkSize
// bytes before it: a longer line is cut.
func lineStart(s Source, pos uint64) (uint64, error) {
	oldest, end := s.Bounds()
	pos = min(pos, end)
	if pos <= oldest {
		return oldest, nil
	}
	from := max(oldest, pos-min(pos, chunkSize))
	text, from, err := readPart(s, from, pos)
	if err != nil {
		return 0, err
	}
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
		return from + uint64(i) + 1, nil
	}
	if len(text) < chunkSize {
		return from, nil
	}
	return pos, nil
}

// readPart returns the bytes from a to before b. Where some were removed it
// returns those behind them; from says where they begin.
func readPart(s Source, a, b uint64) (text []byte, from uint64, err error) {
	r, err := s.Open(a)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	text, from = make([]byte, 0, b-a), a
	for behind := a; behind < b; {
		n, err := r.Read(text[len(text) : len(text)+int(b-behind)])
		text = text[:len(text)+n]
		behind += uint64(n)
		var gap *LostError
		switch {
		case errors.As(err, &gap):
			text, from, behind = text[:0], gap.To, gap.To
		case errors.Is(err, io.EOF):
			return text, from, nil
		case err == nil && n == 0:
			return nil, 0, io.ErrNoProgress
		case err != nil:
			return nil, 0, err
		}
	}
	return text, min(from, b), nil
}

// since is where the lines begin that were written at t or later: behind the
// last one before the first with a later stamp, or by when its bytes were seen.
func (f *feed) since(ctx context.Context, t time.Time) (uint64, error) {
	_, end := f.Source.Bounds()
	from, err := lineStart(f.Source, f.Source.PositionAt(t))
	if err != nil || !f.stamped() {
		return from, err
	}
	found := end
	err = f.scan(ctx, from, end, func(at *feed, line []byte) bool {
		at.look(filter{}, line, time.Time{})
		if at.at.Before(t) {
			return true
		}
		found = at.pos
		return false
	})
	return found, err
}
