package reconciler

import (
	"os"
	"sync"
	"syscall"

	"kita/spec"
)

// Settings holds server.yml: the last good version of it, and what is wrong
// with the present one. The path is fixed when the server starts, the content
// is not.
type Settings struct {
	path string
	// Keep, if not nil, is called with the content of each good version that
	// Refresh reads. It is set before anything else is done with the Settings.
	Keep func(content []byte)

	mu      sync.Mutex
	server  *spec.Server // guarded by mu
	problem error        // guarded by mu
	seen    fileStamp    // guarded by mu: of the file that server or problem is of
}

// fileStamp tells one version of a file from another.
type fileStamp struct {
	inode       uint64
	size        int64
	mtime, ctim syscall.Timespec
}

// NewSettings holds server, as it was read at start.
func NewSettings(server *spec.Server) *Settings {
	s := &Settings{path: server.File, server: server}
	s.seen, _ = stamp(s.path)
	return s
}

// NewSettingsDespite holds server although the file has a problem: it is what
// held before the file got it.
func NewSettingsDespite(server *spec.Server, problem error) *Settings {
	s := NewSettings(server)
	s.problem = problem
	return s
}

func stamp(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return fileStamp{st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// Server is the last good version.
func (s *Settings) Server() *spec.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// Problem is what is wrong with the file now; nil when Server is what it says.
func (s *Settings) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// Refresh reads the file if it may have changed, and tells whether anything is
// different. A file that does not parse, or is gone, leaves Server as it was.
func (s *Settings) Refresh() (changed bool) {
	if s.path == "" {
		return false
	}
	now, err := stamp(s.path)
	s.mu.Lock()
	same := err == nil && now == s.seen
	s.mu.Unlock()
	if same {
		return false
	}
	var server *spec.Server
	content, err := spec.ReadFile(s.path)
	if err == nil {
		server, err = spec.ParseServer(s.path, content)
	}
	if err == nil && s.Keep != nil {
		s.Keep(content)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = now
	if err != nil {
		changed = s.problem == nil || s.problem.Error() != err.Error()
		s.problem = err
		return changed
	}
	s.server, s.problem = server, nil
	return true
}
