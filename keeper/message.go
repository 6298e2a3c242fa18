package keeper

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The words with which messages begin.
const (
	wordState   = "state"
	wordRun     = "run"
	wordReady   = "ready"
	wordUpgrade = "upgrade"
	wordExit    = "exit"
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
}

// parseMessage parses a packet. A later version may say what this one does not
// know, so the caller passes over what is refused.
func parseMessage(text string) (m message, err error) {
	word, rest, _ := strings.Cut(text, " ")
	m.word = word
	switch word {
	case wordReady:
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
