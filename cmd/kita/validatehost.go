package main

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"kita/spec"
)

// host warns of what a child's file names and this host has not. It is no mistake:
// the file may be for another host, or what it names may come later.
func (w warner) host(c *spec.Child) {
	if runtime.GOOS != "linux" { // no server runs here
		return
	}
	given := func(key string) bool { return w.lines[key] > 0 }
	if given("user") && unknownAccount(c.User, func(name string) error { _, err := user.Lookup(name); return err }) {
		w.warn("user", "this host knows no user %s", c.User)
	}
	if given("group") && unknownAccount(c.Group, func(name string) error { _, err := user.LookupGroup(name); return err }) {
		w.warn("group", "this host knows no group %s", c.Group)
	}
	if given("dir") {
		w.missingDir("dir", c.Dir)
	}
	if given("env_file") {
		w.envFile(c.EnvFilePath())
	}
	if len(c.Command) > 0 && filepath.IsAbs(c.Command[0]) && missing(c.Command[0]) {
		w.warn("command", "%s is no program that is there", c.Command[0])
	}
}

// envFile warns of what keeps a child from being started here; who may not read
// the file does not know.
func (w warner) envFile(path string) {
	_, err := spec.ReadEnvFile(path)
	switch {
	case err == nil || errors.Is(err, fs.ErrPermission):
	case errors.Is(err, fs.ErrNotExist):
		w.warn("env_file", "%s is no file that is there", path)
	default:
		for line := range strings.Lines(err.Error()) {
			w.warn("env_file", "%s", strings.TrimSuffix(line, "\n"))
		}
	}
}

// unknownAccount tells that a name is known not to be one; a number needs none.
func unknownAccount(name string, lookup func(string) error) bool {
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		return false
	}
	err := lookup(name)
	var noUser user.UnknownUserError
	var noGroup user.UnknownGroupError
	return errors.As(err, &noUser) || errors.As(err, &noGroup)
}

// missing tells that nothing is there, which who may not look does not know.
func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}
