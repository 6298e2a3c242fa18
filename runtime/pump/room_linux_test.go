package pump

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// What was read when there was room is queued, however much longer the lines
// become, and never much more than what the program waits from.
func TestNothingIsDroppedWhileTheStreamWaitsForRoom(t *testing.T) {
	long := bytes.Repeat([]byte("\""), maxLine-1)
	for _, line := range []string{"", fmt.Sprintf("%099d", 0), string(long)} {
		for _, how := range []attachment{
			{Format: spec.Text},
			{Format: spec.Text, Timestamps: true, Prefix: true},
			{Format: spec.JSON, Timestamps: true, Prefix: true},
			{Format: spec.JSON, OnFull: spec.Block},
		} {
			t.Run(fmt.Sprintf("%d bytes %+v", len(line), how), func(t *testing.T) {
				s, in := unwritten(t, how)
				lines := bytes.Repeat([]byte(line+"\n"), chunkSize/(len(line)+1))
				now := time.Now()
				for range 1000 {
					if ok, _ := s.lane.ready(now, now); !ok {
						break
					}
					fill(t, in, lines)
					s.step()
				}
				if n := s.tally.dropped.Load(); n > 0 {
					t.Errorf("%d lines are dropped", n)
				}
				if s.lane.queued < waitLimit/2 || s.lane.queued > waitLimit+1<<20 {
					t.Errorf("%d bytes wait, the program does from %d on", s.lane.queued, waitLimit)
				}
			})
		}
	}
}

// unwritten is a stream and the writing end of its pipe. Its file takes nothing.
func unwritten(t *testing.T, how attachment) (s *stream, in int) {
	t.Helper()
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(pipe[:]) })
	if _, err := unix.FcntlInt(uintptr(pipe[0]), unix.F_SETPIPE_SZ, pipeSize); err != nil {
		t.Skip(err)
	}
	s, err = newStream(keyOf("web"), "", pipe[0], p)
	if err != nil {
		t.Fatal(err)
	}
	// It has a writer, which never does anything.
	s.enter((&sink{writing: true, changed: func() {}}).join(s.key, how, &s.tally))
	t.Cleanup(func() { total.Add(-int64(s.lane.queued)) })
	return s, pipe[1]
}

// fill puts data into a pipe, as much as it takes.
func fill(t *testing.T, fd int, data []byte) {
	t.Helper()
	if _, err := unix.Write(fd, data); err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
}
