//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// now is the time of CLOCK_MONOTONIC, the clock of the stamps.
func now() time.Duration {
	var t unix.Timespec
	// It fails only for a clock that does not exist.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano())
}

// stampSize is the size of a record of bench/stamp.
const stampSize = 24

// stamp is what a child wrote as it began.
type stamp struct {
	at  time.Duration
	pid int
}

// stamps is the file that children append their stamps to.
type stamps struct {
	file *os.File
	path string
}

func newStamps(path string) (*stamps, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &stamps{file: file, path: path}, nil
}

func (s *stamps) close() {
	_ = s.file.Close()
	_ = os.Remove(s.path)
}

// clear forgets the stamps so far.
func (s *stamps) clear() error { return s.file.Truncate(0) }

// await waits for n stamps since the last clear and returns them, in the order
// of their writing. It looks at the size of one file about every tenth of a
// millisecond to two milliseconds: the more there are, the less often.
func (s *stamps) await(ctx context.Context, n int) ([]stamp, error) {
	pause := min(max(time.Duration(n)*10*time.Microsecond, 100*time.Microsecond), 2*time.Millisecond)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	limit := now() + awaitLimit
	for {
		info, err := s.file.Stat()
		if err != nil {
			return nil, err
		}
		if info.Size() >= int64(n)*stampSize {
			return s.read()
		}
		if now() > limit {
			return nil, fmt.Errorf("%d of %d children have begun after %v", info.Size()/stampSize, n, awaitLimit)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}

// awaitLimit is when a measurement is given up.
const awaitLimit = 2 * time.Minute

// read returns all stamps since the last clear.
func (s *stamps) read() ([]stamp, error) {
	content, err := io.ReadAll(io.NewSectionReader(s.file, 0, 1<<30))
	if err != nil {
		return nil, err
	}
	all := make([]stamp, 0, len(content)/stampSize)
	for ; len(content) >= stampSize; content = content[stampSize:] {
		seconds := binary.NativeEndian.Uint64(content)
		nanoseconds := binary.NativeEndian.Uint64(content[8:])
		all = append(all, stamp{
			at:  time.Duration(seconds)*time.Second + time.Duration(nanoseconds),
			pid: int(binary.NativeEndian.Uint64(content[16:])),
		})
	}
	return all, nil
}

// latest is the time of the last of all stamps.
func latest(all []stamp) time.Duration {
	var last time.Duration
	for _, s := range all {
		last = max(last, s.at)
	}
	return last
}
