package spec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxEnvFile bounds an env_file; more than this does not fit an exec anyway.
// maxEnvErrors is how many mistakes of one are told.
const (
	maxEnvFile   = 1 << 20
	maxEnvErrors = 5
)

// EnvFilePath is where the env_file is: a relative one is beside the child's own
// file.
func (c *Child) EnvFilePath() string {
	if filepath.IsAbs(c.EnvFile) {
		return c.EnvFile
	}
	return filepath.Join(filepath.Dir(c.File), c.EnvFile)
}

// ReadEnvFile reads the env_file of a child: a NAME=VALUE a line, `export` allowed
// in front; empty lines and lines that begin with # are skipped. 'a value' is
// literal, in "a value" \\, \", \$, \n and \t are escapes; after the closing
// quote only a comment may follow. A value without quotes is the rest of the line
// as it is, blanks at both ends taken off. The error has a line for each thing that
// is wrong, as path:line, up to five, then how many more there are as FirstLine counts
// them, and nothing of what the file holds but names of variables: it may be read by
// those who must not know the rest. It does not wait for a FIFO's writer.
func ReadEnvFile(path string) ([]EnvVar, error) {
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

// parseEnvFile does it for a text.
func parseEnvFile(path, text string) ([]EnvVar, error) {
	var vars []EnvVar
	var errs []error
	number, wrong := 0, 0
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		v, err := parseEnvLine(line)
		if err != nil {
			if wrong++; wrong <= maxEnvErrors {
				errs = append(errs, fmt.Errorf("%s:%d: %w", path, number, err))
			}
			continue
		}
		vars = append(vars, v)
	}
	if more := wrong - maxEnvErrors; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more in %s", more, path))
	}
	return vars, errors.Join(errs...)
}

func parseEnvLine(line string) (EnvVar, error) {
	if rest, ok := strings.CutPrefix(line, "export"); ok && strings.TrimLeft(rest, " \t") != rest {
		line = strings.TrimLeft(rest, " \t")
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return EnvVar{}, errors.New("no '=', write NAME=VALUE")
	}
	if name == "" || strings.ContainsAny(name, " \t\x00'\"") {
		return EnvVar{}, errors.New("what is before the '=' is no name of a variable, write NAME=VALUE")
	}
	if strings.Contains(value, "\x00") {
		return EnvVar{}, fmt.Errorf("the value of %s holds a NUL", name)
	}
	value, err := unquote(strings.TrimLeft(value, " \t"))
	if err != nil {
		return EnvVar{}, fmt.Errorf("%s: %w", name, err)
	}
	return EnvVar{Name: name, Value: value}, nil
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
				return "", errors.New("something follows the closing quote")
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
