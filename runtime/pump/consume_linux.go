package pump

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// fullOutput is when formatted lines are handed over: one more, with what comes
// before it, fits mostly.
const fullOutput = chunkSize * 3 / 4

// consume queues the lines in buf, which begins with what was held, and holds
// what is left. It takes buf over. Lines that become longer may be more than the
// lane has room for: what it does not queue at once is s.rest.
func (s *stream) consume(buf []byte) {
	now := time.Now()
	if len(s.held) == 0 {
		s.since = now
	}
	s.held = s.held[:0]
	if s.text.plain() {
		end := wholeLines(buf, s.begun)
		if rest := buf[end:]; len(rest) <= maxLine && (end > 0 || len(rest) <= maxLine-s.begun) {
			if end > 0 {
				s.since = now
			}
			s.hold(rest)
			s.pass(buf[:end])
			return
		}
	}
	s.chunk, s.rest = buf, buf
	s.format(now)
}

// pass queues whole lines as they are.
func (s *stream) pass(lines []byte) {
	if len(lines) == 0 {
		giveChunk(lines)
		return
	}
	s.begun = 0
	s.lane.sink.put(s.lane, lines, bytes.Count(lines, []byte{'\n'}), 0, false)
}

// format queues pieces of lines in s.rest, as many as become one entry. When
// there are no more it holds what is left.
func (s *stream) format(now time.Time) {
	s.text.stamp(now)
	out := takeChunk()[:0]
	lines, done := 0, false
	for len(out) < fullOutput {
		piece, after, end, ok := nextLine(s.rest, s.begun)
		if !ok {
			done = true
			break
		}
		s.rest, s.since, s.begun = after, now, 0
		out = s.text.appendPiece(out, piece, end)
		if end == whole {
			lines++
		}
	}
	if len(out) > 0 {
		s.queue(out, lines, false)
	} else {
		giveChunk(out)
	}
	if done || len(s.rest) == 0 {
		s.hold(s.rest)
		giveChunk(s.chunk)
		s.chunk, s.rest = nil, nil
	}
}

// queue hands formatted lines over. The first may go on with one that was begun.
func (s *stream) queue(out []byte, lines int, open bool) {
	s.lane.sink.put(s.lane, out, lines, len(s.text.head), open)
}

// hold keeps an unfinished line.
func (s *stream) hold(line []byte) {
	if s.held = append(s.held[:0], line...); len(s.held) == 0 {
		s.held = nil
	}
}

// flush queues what is held. At the end of the stream it becomes a line; before,
// text is left open so that the line can go on, and an object says that it does.
func (s *stream) flush() {
	if len(s.held) == 0 && (!s.ended || s.begun == 0) {
		return
	}
	s.text.stamp(time.Now())
	switch {
	case s.ended:
		s.queue(s.text.appendPiece(nil, s.held, whole), 1, false)
		s.begun = 0
	case s.text.style.format == spec.JSON:
		s.queue(s.text.appendPiece(nil, s.held, split), 0, false)
	default:
		out := append([]byte(nil), s.text.head...)
		s.queue(append(out, s.held...), 0, true)
		s.begun += len(s.held)
	}
	s.held = nil
}

// exchange has what follows written to another lane.
func (s *stream) exchange(l *lane) {
	old := s.lane
	if l.sink == old.sink && l.how == old.how {
		l.leave()
		return
	}
	s.enter(l)
	s.begun = 0
	old.leave()
}

func (s *stream) enter(l *lane) {
	s.mu.Lock()
	s.lane = l
	s.mu.Unlock()
	s.text = newFormatter(l.notes.style)
}

// resume goes on where an earlier pump ended. It comes before run.
func (s *stream) resume(left remains, unwritten []byte) {
	s.held, s.begun, s.since = left.Held, left.Begun, time.Now()
	if s.begun > 0 {
		s.lane.goOn()
	}
	if len(unwritten) > 0 {
		s.lane.sink.put(s.lane, unwritten, bytes.Count(unwritten, []byte{'\n'}), 0, s.begun > 0)
	}
}

// drain closes done once what is in the FIFO now is written, an unfinished line
// included.
func (s *stream) drain(done chan<- struct{}) {
	waiting, _ := unix.IoctlGetInt(s.fifo, unix.TIOCINQ)
	s.drains = append(s.drains, drain{s.consumed + uint64(waiting), done})
}

// answerDrains has those wait for the file for whom enough was read.
func (s *stream) answerDrains() {
	for len(s.drains) > 0 && len(s.rest) == 0 && (s.ended || s.consumed >= s.drains[0].consumed) {
		s.flush()
		s.lane.await(s.drains[0].done)
		s.drains = s.drains[1:]
	}
}
