package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pseudoTerminal returns both ends of one.
func pseudoTerminal(t *testing.T) (user *os.File, tty *os.File) {
	t.Helper()
	// Not blocking, so that reads of it have deadlines.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	user = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = user.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return user, tty
}

// TestTheCursorStandsAtTheBeginningOfALineAfterAQuestion: whatever its answer is.
func TestTheCursorStandsAtTheBeginningOfALineAfterAQuestion(t *testing.T) {
	for typed, want := range map[string]string{"secret\r": "secret", "sec\x03": "", "\x04": ""} {
		user, tty := pseudoTerminal(t)
		if err := user.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		var (
			answer []byte
			asked  error
			done   = make(chan struct{})
		)
		go func() {
			defer close(done)
			answer, asked = askOn(tty, "Passphrase of k: ")
			_, _ = tty.WriteString("END")
		}()
		var shown bytes.Buffer
		read := func(until string) {
			t.Helper()
			for chunk := make([]byte, 256); !bytes.Contains(shown.Bytes(), []byte(until)); {
				n, err := user.Read(chunk)
				if err != nil {
					t.Fatalf("%v, shown %q", err, &shown)
				}
				shown.Write(chunk[:n])
			}
		}
		read("of k: ")
		if _, err := user.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		read("END")
		<-done
		if string(answer) != want || (asked == nil) != (want != "") || asked != nil && !errors.Is(asked, errInterrupted) {
			t.Errorf("%q: %q, %v", typed, answer, asked)
		}
		if got := shown.String(); got != "Passphrase of k: \r\nEND" {
			t.Errorf("%q: shown %q", typed, got)
		}
	}
}
