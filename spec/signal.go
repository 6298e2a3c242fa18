package spec

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Signal is a signal number that reads and writes as its name ("SIGTERM").
type Signal int

func (s Signal) String() string {
	if s == 0 {
		return ""
	}
	if name := unix.SignalName(unix.Signal(s)); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s Signal) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; see ParseSignal.
func (s *Signal) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = 0
		return nil
	}
	v, err := ParseSignal(strings.TrimPrefix(string(text), "signal "))
	*s = v
	return err
}

// ParseSignal reads a signal's name, with or without SIG and in any case, or
// its number, 1 to 64.
func ParseSignal(text string) (Signal, error) {
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return Signal(n), nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= 64 {
		return Signal(n), nil
	}
	return 0, fmt.Errorf("%q is no signal, write a name like SIGTERM or a number", text)
}
