package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"kita/spec"
	"kita/why"
)

// printable is s with everything escaped that a terminal would act on rather
// than show: children and files can hold any text.
func printable(s string) string {
	if isPlain(s) {
		return s
	}
	if strings.IndexFunc(s, isOdd) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case isOdd(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToGraphic(r), "'"))
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// isPlain: it has nothing but printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isOdd(r rune) bool { return !unicode.IsPrint(r) }

// ago is a length of time in its two largest units: 5s, 3m12s, 4h05m, 3d04h.
func ago(d time.Duration) string { return why.Ago(d) }

// sizeText is a number of bytes, rounded: 3 bytes, 4.5 kB, 120 MB.
func sizeText(n uint64) string {
	const step = 1000
	if n < step {
		return fmt.Sprintf("%d bytes", n)
	}
	size, units := float64(n), []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	unit := -1
	for size >= step-0.5 && unit < len(units)-1 {
		size /= step
		unit++
	}
	if size < 9.95 {
		return fmt.Sprintf("%.1f %s", size, units[unit])
	}
	return fmt.Sprintf("%.0f %s", size, units[unit])
}

// instant is a moment and how far it is from now.
func instant(t, now time.Time) string {
	text := t.Local().Format(time.DateTime)
	if t.After(now) {
		return fmt.Sprintf("%s (in %s)", text, ago(t.Sub(now).Round(time.Second)))
	}
	return fmt.Sprintf("%s (%s ago)", text, ago(now.Sub(t)))
}

// exitText is how a process ended, with what that means where it is known.
func exitText(e spec.Exit) string { return e.Words() }

// colours of ECMA-48, as SGR parameters.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// phaseText is a phase after "it is".
func phaseText(p spec.Phase) string {
	if p == spec.PhaseBackOff {
		return "in back-off"
	}
	return string(p)
}

// phaseColour is empty for a phase that needs no attention.
func phaseColour(p spec.Phase) string {
	switch p {
	case spec.PhaseRunning:
		return green
	case spec.PhaseFailed:
		return red
	case spec.PhaseStarting, spec.PhaseStopping, spec.PhaseBackOff:
		return yellow
	case spec.PhaseStopped, spec.PhaseExited:
	}
	return ""
}

// paint colours text, where colours are wanted.
func (p *program) paint(colour, text string) string {
	if !p.colour || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// wantsColour is true for a terminal, unless its user said no: see
// no-color.org.
func wantsColour(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
