package logs

import (
	"bytes"
	"context"
	"strings"
	"unicode/utf8"

	"kita/spec"
)

// firstStep and lastStep are how far back the last lines are looked for at
// first, and at most in one go.
const (
	firstStep = chunkSize
	lastStep  = 4 << 20
)

// tail is where the last n lines begin that the filter lets through, of those
// from from to before end. A last line without an end counts.
func (f *feed) tail(ctx context.Context, n int, from, end uint64, flt filter) (uint64, error) {
	segments := f.Source.Segments()
	for b, step := end, uint64(firstStep); b > from; step = min(2*step, lastStep) {
		if n <= 0 {
			return b, nil
		}
		a, err := f.stepBack(ctx, segments, from, b, step)
		if err != nil {
			return 0, err
		}
		count := 0
		err = f.scan(ctx, a, b, func(at *feed, line []byte) bool {
			if flt.shows(at.mark(line), line) {
				count++
			}
			return true
		})
		if err != nil {
			return 0, err
		}
		if count >= n {
			return f.skipLines(ctx, a, b, count-n, flt)
		}
		n, b = n-count, a
	}
	return from, nil
}

// stepBack is where to look for lines that end before b: from the beginning of
// the segment on, or in the last one from a line that begins about step bytes
// before b.
func (f *feed) stepBack(ctx context.Context, segments []Segment, from, b, step uint64) (uint64, error) {
	for i, s := range segments {
		if s.Start >= b || s.End < b && i < len(segments)-1 {
			continue
		}
		from = max(from, s.Start)
		if i < len(segments)-1 {
			return from, nil
		}
	}
	for ; b-from > step; step *= 2 {
		// What begins at a is the rest of a line.
		a, found := b-step, uint64(0)
		err := f.scan(ctx, a, b, func(at *feed, _ []byte) bool {
			found = at.pos
			return found == a
		})
		if err != nil || found > a {
			return found, err
		}
	}
	return from, nil
}

// skipLines is where the lines from a to before b begin without the first n
// that the filter lets through.
func (f *feed) skipLines(ctx context.Context, a, b uint64, n int, flt filter) (uint64, error) {
	start := b
	err := f.scan(ctx, a, b, func(at *feed, line []byte) bool {
		if flt.shows(at.mark(line), line) {
			if n == 0 {
				start = at.pos
				return false
			}
			n--
		}
		return true
	})
	return start, err
}

// lastLineSize is the most bytes of a line of Tail.
const lastLineSize = 1 << 10

// Tail returns the last count lines that were written to n from a position on,
// the latest last and each without its end, cut to 1 KiB of valid UTF-8. It looks
// at the last maxBytes bytes. A last line without an end counts. Lines that are
// marked as those of another child, or of a stream other than this one, are left
// out; an empty stream means both.
func Tail(n Named, stream spec.StreamName, count int, from uint64, maxBytes int) ([]string, error) {
	oldest, end := n.Source.Bounds()
	from = max(from, oldest)
	if from >= end || count <= 0 || maxBytes <= 0 {
		return nil, nil
	}
	start := max(from, end-min(end, uint64(maxBytes)))
	text, begin, err := readPart(n.Source, start, end)
	if err != nil {
		return nil, err
	}
	if begin > from && begin == start {
		// The first is the end of a line, unless nothing else is there.
		if _, rest, found := bytes.Cut(text, []byte("\n")); found && len(rest) > 0 {
			text = rest
		}
	}
	var lines []string
	wanted := filter{stream: stream}
	for line := range bytes.Lines(text) {
		if wanted.shows(n.mark(line), line) {
			lines = append(lines, lastLine(line))
		}
	}
	return lines[max(0, len(lines)-count):], nil
}

// lastLine cuts a line for a person to read.
func lastLine(line []byte) string {
	line = withoutEnd(line)
	text := strings.ToValidUTF8(string(line[:min(len(line), lastLineSize)]), "\uFFFD")
	for len(text) > lastLineSize {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
