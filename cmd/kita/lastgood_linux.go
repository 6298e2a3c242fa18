package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"kita/spec"
)

// lastGoodName is the file in the run directory that has the last good content
// of server.yml.
const lastGoodName = "server.yml.good"

// lastGood keeps the last good content of server.yml for a server that has to
// take the place of one that crashed: by then the file may be illegal or gone,
// and the children need a server all the same.
type lastGood struct{ runDir string }

// save writes content, which was read from path; both are empty where there is
// no server.yml. The path is in a comment on the first line.
func (l lastGood) save(path string, content []byte) error {
	text := append(fmt.Appendf(nil, "# %s\n", strconv.Quote(path)), content...)
	file := filepath.Join(l.runDir, lastGoodName)
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, text) {
		return nil
	}
	next := file + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		_ = os.Remove(next)
		return err
	}
	return os.Rename(next, file)
}

// keptGood is what was saved last, for a run directory that is made again.
type keptGood struct {
	lastGood
	mu      sync.Mutex
	path    string // guarded by mu
	content []byte // guarded by mu
	saved   bool   // guarded by mu
}

func (k *keptGood) save(path string, content []byte) error {
	k.mu.Lock()
	k.path, k.content, k.saved = path, content, true
	k.mu.Unlock()
	return k.lastGood.save(path, content)
}

// again saves what was saved last once more.
func (k *keptGood) again() error {
	k.mu.Lock()
	path, content, saved := k.path, k.content, k.saved
	k.mu.Unlock()
	if !saved {
		return nil
	}
	return k.lastGood.save(path, content)
}

// load returns what was saved.
func (l lastGood) load() (*spec.Server, error) {
	file := filepath.Join(l.runDir, lastGoodName)
	text, err := spec.ReadFile(file)
	if err != nil {
		return nil, err
	}
	first, content, _ := bytes.Cut(text, []byte("\n"))
	path, err := strconv.Unquote(string(bytes.TrimPrefix(first, []byte("# "))))
	if err != nil {
		return nil, fmt.Errorf("%s: the first line names no path", file)
	}
	if path == "" {
		return spec.DefaultServer(), nil
	}
	return spec.ParseServer(path, content)
}

// configuration is server.yml as the server begins with it.
type configuration struct {
	*spec.Server
	// content is that of the file, empty without one.
	content []byte
	// problem is what is wrong with the file now, where Server is what held
	// before.
	problem error
}

// loadConfig reads server.yml. A server that takes the place of another goes on
// with what held for that one if the file is no good any more. formerRunDir is
// that one's run directory, empty if there was none.
func loadConfig(file, formerRunDir string, logger *slog.Logger) (configuration, error) {
	c, err := readConfig(file, logger)
	if formerRunDir == "" || err == nil && c.File != "" {
		return c, err
	}
	before, loadErr := lastGood{formerRunDir}.load()
	if loadErr != nil || err == nil && before.File == "" {
		return c, err
	}
	if err == nil {
		err = fmt.Errorf("%s is gone", before.File)
	}
	logger.Error("server.yml is no good, what held before it is in force", "problem", err)
	return configuration{Server: before, problem: err}, nil
}

func readConfig(file string, logger *slog.Logger) (c configuration, err error) {
	path, warnings, err := spec.FindServerFile(file)
	for _, warning := range warnings {
		logger.Warn("server.yml", "problem", warning)
	}
	if err != nil {
		return c, fmt.Errorf("find server.yml: %w", err)
	}
	if path == "" {
		logger.Warn("no server.yml was found, the defaults are in force: there are no load paths")
		c.Server = spec.DefaultServer()
		return c, nil
	}
	if c.content, err = spec.ReadFile(path); err != nil {
		return c, err
	}
	c.Server, err = spec.ParseServer(path, c.content)
	return c, err
}
