package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"kita/spec"
)

// Variables that tell what a process is. They travel with it by the kernel, so
// a server that lost its files can still tell whose process it is.
const (
	envChild       = "KITA_CHILD"
	envIncarnation = "KITA_INCARNATION"
	envServer      = "KITA_SERVER"
	envNotify      = "NOTIFY_SOCKET"
)

// maxEnvFile bounds an env_file; more than this does not fit an exec anyway.
const maxEnvFile = 1 << 20

// environment is the variables of a process: of two with one name, the later.
type environment struct {
	entries []string
	// index has where they are; base, where it is not nil, those that index has
	// not. It is shared by others.
	index, base map[string]int
}

func (e *environment) find(name string) (i int, ok bool) {
	if i, ok = e.index[name]; !ok {
		i, ok = e.base[name]
	}
	return i, ok
}

func (e *environment) set(name, value string) {
	entry := name + "=" + value
	if i, ok := e.find(name); ok {
		e.entries[i] = entry
		return
	}
	if e.index == nil {
		e.index = make(map[string]int, 8)
	}
	e.index[name] = len(e.entries)
	e.entries = append(e.entries, entry)
}

func (e *environment) get(name string) (string, bool) {
	i, ok := e.find(name)
	if !ok {
		return "", false
	}
	return e.entries[i][len(name)+1:], true
}

// over is an environment that begins as e, which must not change any more.
func (e *environment) over() *environment {
	const room = 8 // for what a launch adds
	return &environment{entries: append(make([]string, 0, len(e.entries)+room), e.entries...), base: e.index}
}

// inherited is what processes inherit of env: all but what is addressed to the
// server alone.
func inherited(env []string) *environment {
	e := &environment{}
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" || name == envChild || name == envIncarnation || name == envServer || name == envNotify {
			continue
		}
		e.set(name, value)
	}
	return e
}

// environ puts the environment of a process together: the server's own without
// what is addressed to the server alone, then who it runs as, env_file, env
// and the tokens, each overriding what came before.
func (h *Host) environ(c *spec.Child, incarnation uint64, as *account) (*environment, error) {
	e := h.env.over()
	if as != nil && as.name != "" {
		e.set("USER", as.name)
		e.set("LOGNAME", as.name)
	}
	if as != nil && as.home != "" {
		e.set("HOME", as.home)
	}
	if c.EnvFile != "" {
		path := c.EnvFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(c.File), path)
		}
		vars, err := readEnvFile(path)
		if err != nil {
			return nil, err
		}
		for _, v := range vars {
			e.set(v.Name, v.Value)
		}
	}
	for _, v := range c.Env {
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") || strings.Contains(v.Value, "\x00") {
			return nil, fmt.Errorf("env %q: a name needs a character and no '=', and neither may hold a NUL", v.Name)
		}
		e.set(v.Name, v.Value)
	}
	e.set(envChild, c.Name)
	e.set(envIncarnation, strconv.FormatUint(incarnation, 10))
	if h.id != "" {
		e.set(envServer, h.id)
	}
	return e, nil
}

// readEnvFile reads NAME=VALUE lines. It does not wait for a FIFO's writer.
func readEnvFile(path string) ([]spec.EnvVar, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxEnvFile {
		return nil, fmt.Errorf("read %s: larger than 1 MiB, is it an env_file?", path)
	}
	return parseEnvFile(path, string(text))
}

// parseEnvFile parses an env_file: a NAME=VALUE a line, `export` allowed in
// front; empty lines and lines that begin with # are skipped. 'a value' is
// literal, in "a value" \\, \", \$, \n and \t are escapes; after the closing
// quote only a comment may follow. A value without quotes is the rest of the
// line as it is, blanks at both ends taken off. All errors are reported at
// once, each as path:line.
func parseEnvFile(path, text string) ([]spec.EnvVar, error) {
	var vars []spec.EnvVar
	var errs []error
	number := 0
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		v, err := parseEnvLine(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, number, err))
			continue
		}
		vars = append(vars, v)
	}
	return vars, errors.Join(errs...)
}

func parseEnvLine(line string) (spec.EnvVar, error) {
	if rest, ok := strings.CutPrefix(line, "export"); ok && strings.TrimLeft(rest, " \t") != rest {
		line = strings.TrimLeft(rest, " \t")
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return spec.EnvVar{}, fmt.Errorf("%q has no '=', write NAME=VALUE", line)
	}
	if name == "" || strings.ContainsAny(name, " \t\x00'\"") {
		return spec.EnvVar{}, fmt.Errorf("%q is no name of a variable", name)
	}
	if strings.Contains(value, "\x00") {
		return spec.EnvVar{}, fmt.Errorf("the value of %s holds a NUL", name)
	}
	value, err := unquote(strings.TrimLeft(value, " \t"))
	if err != nil {
		return spec.EnvVar{}, fmt.Errorf("%s: %w", name, err)
	}
	return spec.EnvVar{Name: name, Value: value}, nil
}

// unquote takes the quotes off a value that begins with one.
func unquote(value string) (string, error) {
	if value == "" || value[0] != '"' && value[0] != '\'' {
		return value, nil
	}
	quote := value[0]
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch ch := value[i]; {
		case ch == quote:
			rest := strings.TrimLeft(value[i+1:], " \t")
			if rest != "" && rest[0] != '#' {
				return "", fmt.Errorf("%q follows the closing quote", rest)
			}
			return b.String(), nil
		case ch == '\\' && quote == '"' && i+1 < len(value) && strings.IndexByte(`\"$nt`, value[i+1]) >= 0:
			i++
			b.WriteByte(unescape(value[i]))
		default:
			b.WriteByte(ch)
		}
	}
	return "", errors.New("the quote is not closed")
}

func unescape(ch byte) byte {
	switch ch {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	}
	return ch
}
