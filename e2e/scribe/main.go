// Command scribe is a child that writes numbered lines of 50 bytes as fast as it
// can, one write(2) for each:
//
//	scribe -lines N [-until FILE] [-pace D] [-batch LINES] [-length BYTES] [-err] [-report FILE]
//
// It writes N lines and goes on until FILE is there; its last line is "end" and
// the number of those before it. It reports how many nanoseconds that took. An error of a write is not the end: the rest of
// the line is tried again until it is taken, so that a line that is missing is
// not of its making. A signal is its end at once.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"time"
)

// again is the wait after an error of a write.
const again = 5 * time.Millisecond

func main() {
	lines := flag.Int("lines", 0, "how many lines at least")
	until := flag.String("until", "", "a file whose coming ends it")
	pace := flag.Duration("pace", 0, "a wait after each write")
	batch := flag.Int("batch", 1, "lines in one write")
	length := flag.Int("length", 50, "of a line, its end included")
	toErr := flag.Bool("err", false, "write to stderr")
	report := flag.String("report", "", "a file for how long it took")
	flag.Parse()
	fd := 1
	if *toErr {
		fd = 2
	}
	n := 0
	text := bytes.Repeat([]byte("."), *batch**length)
	begin := time.Now()
	for n < *lines || !there(*until) {
		for i := range *batch {
			line(text[i**length:][:*length], n)
			n++
		}
		put(fd, text)
		if *pace > 0 {
			time.Sleep(*pace)
		}
	}
	put(fd, fmt.Appendf(nil, "end %d\n", n))
	if *report != "" {
		took := time.Since(begin).Nanoseconds()
		err := os.WriteFile(*report+".new", fmt.Append(nil, took), 0o644)
		if err = errors.Join(err, os.Rename(*report+".new", *report)); err != nil {
			fmt.Fprintln(os.Stderr, "scribe:", err)
			os.Exit(1)
		}
	}
}

// there tells whether the file is there; without one it always is.
func there(file string) bool {
	if file == "" {
		return true
	}
	return syscall.Access(file, 0) == nil
}

// line makes number n of dots: twelve digits, a space, dots and the line's end.
func line(dots []byte, n int) {
	for i := 11; i >= 0; i-- {
		dots[i] = byte('0' + n%10)
		n /= 10
	}
	dots[12], dots[len(dots)-1] = ' ', '\n'
}

func put(fd int, text []byte) {
	for len(text) > 0 {
		n, err := syscall.Write(fd, text)
		if n > 0 {
			text = text[n:]
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			if errors.Is(err, syscall.EBADF) {
				os.Exit(1)
			}
			time.Sleep(again)
		}
	}
}
