package keeper

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// longestExtension bounds what a server may ask for at once.
const longestExtension = 10 * time.Minute

// The words with which messages begin.
const (
	wordState   = "state"
	wordRun     = "run"
	wordReady   = "ready"
	wordUpgrade = "upgrade"
	wordExit    = "exit"

	wordStatus    = "status"
	wordReloading = "reloading"
	wordReloaded  = "reloaded"
	wordBeat      = "beat"
	wordExtend    = "extend"
	wordHold      = "hold"
)

// message is what a server says.
type message struct {
	word string
	// id belongs to run, dir to run and state.
	id, dir string
	// path belongs to upgrade; empty: there is none after all.
	path string
	// code belongs to exit.
	code int
	// text belongs to status.
	text string
	// more belongs to extend.
	more time.Duration
	// use and address belong to hold.
	use, address string
}

// parseMessage parses a packet. A later version may say what this one does not
// know, so the caller passes over what is refused.
func parseMessage(text string) (m message, err error) {
	word, rest, _ := strings.Cut(text, " ")
	m.word = word
	switch word {
	case wordReady, wordReloading, wordReloaded, wordBeat:
		return m, nil
	case wordStatus:
		m.text = rest
		if rest == "" || strings.ContainsRune(rest, '\n') {
			return m, fmt.Errorf("%q is not one line", text)
		}
		return m, nil
	case wordExtend:
		micros, err := strconv.ParseInt(rest, 10, 64)
		if m.more = time.Duration(micros) * time.Microsecond; err != nil || m.more <= 0 || m.more > longestExtension {
			return m, fmt.Errorf("%q is no extension", text)
		}
		return m, nil
	case wordHold:
		m.use, m.address, _ = strings.Cut(rest, " ")
		if m.use == "" {
			return m, fmt.Errorf("%q does not say what it is for", text)
		}
		return m, nil
	case wordState:
		m.dir = rest
		if !filepath.IsAbs(m.dir) {
			return m, fmt.Errorf("%q names no directory", text)
		}
		return m, nil
	case wordRun:
		m.id, m.dir, _ = strings.Cut(rest, " ")
		if m.id == "" || !filepath.IsAbs(m.dir) {
			return m, fmt.Errorf("%q names no id and no directory", text)
		}
		return m, nil
	case wordUpgrade:
		m.path = rest
		if rest != "" && !filepath.IsAbs(rest) {
			return m, fmt.Errorf("%q: the path is not absolute", text)
		}
		return m, nil
	case wordExit:
		if m.code, err = strconv.Atoi(rest); err != nil || m.code < 0 || m.code > 255 {
			return m, fmt.Errorf("%q is no exit status", text)
		}
		return m, nil
	}
	return m, fmt.Errorf("%q is unknown", text)
}
