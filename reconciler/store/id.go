package store

import (
	"os"
	"path/filepath"
	"strings"
)

// idName is a file in the run directory. It is there only where the directory was
// made again under a server that ran: then what the directory is does not tell the
// ID that the processes bear.
const idName = "server.id"

// findID returns the ID of the server before this one in the same directory, or of
// a new one.
func findID(bootID, runDir string) (string, error) {
	own, err := makeID(bootID, runDir)
	if err != nil {
		return "", err
	}
	// It holds for this directory in this boot, and for no copy of it.
	text, _ := os.ReadFile(filepath.Join(runDir, idName))
	if of, id, ok := strings.Cut(strings.TrimSpace(string(text)), " "); ok && of == own && len(id) == len(own) {
		return id, nil
	}
	return own, nil
}

// keepID writes the ID down where the run directory does not tell it.
func (s *Store) keepID() {
	if id, err := findID(s.bootID, s.runDir); err == nil && id == s.id {
		return
	}
	own, err := makeID(s.bootID, s.runDir)
	if err == nil {
		err = replaceFile(filepath.Join(s.runDir, idName), []byte(own+" "+s.id+"\n"))
	}
	if err != nil {
		s.log.Warn("cannot save the id of the server, another keeper's server may not find all processes", "dir", s.runDir, "error", err)
	}
}
