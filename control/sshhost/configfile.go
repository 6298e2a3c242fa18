package sshhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/kevinburke/ssh_config"
)

// Bounds of configuration files; the depth is that of OpenSSH.
const (
	maxConfigFile   = 1 << 20
	maxIncludeDepth = 16
)

// ConfigError is the error of a configuration of SSH that cannot be followed.
type ConfigError struct {
	File string
	// Line is 0 where the error is not in one line.
	Line int
	Err  error
}

func (c *ConfigError) Error() string {
	if c.Line > 0 {
		return fmt.Sprintf("%s:%d: %v", c.File, c.Line, c.Err)
	}
	return fmt.Sprintf("%s: %v", c.File, c.Err)
}

func (c *ConfigError) Unwrap() error { return c.Err }

// value is one that a file gives, and where.
type value struct {
	text string
	file string
	line int
}

func (v value) fail(format string, args ...any) error {
	return &ConfigError{File: v.file, Line: v.line, Err: fmt.Errorf(format, args...)}
}

// evaluation reads the configuration for one host, as ssh_config(5) has it: the
// first value of a keyword counts, but for those that gather.
type evaluation struct {
	env environment
	// original is the name as it was given, user the login that was given.
	original, user string
	// final: this is the second pass, which `Match final` asks for.
	final, wantsFinal bool
	values            map[string][]value
}

// Keywords as the library hides them from its own, simpler handling: it reads
// included files at once and from other places, and takes every word after
// `Match host` for a pattern.
const (
	hiddenMatch   = "kita-match"
	hiddenInclude = "kita-include"
)

// read evaluates a file. One of the user must not be writable by others, as ssh
// wants it too: it says which host is who. active is whether the lines before
// the first Host count.
func (e *evaluation) read(path string, ofUser, active bool, depth int) error {
	if depth > maxIncludeDepth {
		return &ConfigError{File: path, Err: errors.New("too many files include one another")}
	}
	text, err := readConfigFile(path, ofUser)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &ConfigError{File: path, Err: err}
	}
	parsed, err := decode(hide(text))
	if err != nil {
		return &ConfigError{File: path, Err: err}
	}
	for i, block := range parsed.Hosts {
		// The first block is what stands before any Host.
		within := active && (i == 0 || block.Matches(e.original))
		if err := e.block(path, block, ofUser, active, within, depth); err != nil {
			return err
		}
	}
	return nil
}

// block takes the lines of a Host. enclosing is whether the file counts at all,
// within whether the block does, until a Match.
func (e *evaluation) block(path string, block *ssh_config.Host, ofUser, enclosing, within bool, depth int) error {
	for _, node := range block.Nodes {
		kv, ok := node.(*ssh_config.KV)
		if !ok {
			continue
		}
		v := value{text: kv.Value, file: path, line: kv.Pos().Line}
		switch keyword := strings.ToLower(kv.Key); keyword {
		case hiddenMatch:
			if !enclosing {
				continue
			}
			var err error
			if within, err = e.match(v, raw(kv)); err != nil {
				return err
			}
		case hiddenInclude:
			if err := e.include(v, raw(kv), ofUser, within, depth); err != nil {
				return err
			}
		default:
			if within && v.text == "" {
				return v.fail("%s needs a value", kv.Key)
			}
			if within {
				e.set(keyword, v, raw(kv))
			}
		}
	}
	return nil
}

// gathering keywords may be given several times.
var gathering = []string{"identityfile", "certificatefile"}

// listed keywords have several words, each of which may be quoted.
var listed = []string{"userknownhostsfile", "globalknownhostsfile", "revokedhostkeys"}

func (e *evaluation) set(keyword string, v value, raw string) {
	// Of the two ways through another host, the one that comes first counts.
	if keyword == "proxycommand" && e.values["proxyjump"] != nil || keyword == "proxyjump" && e.values["proxycommand"] != nil {
		return
	}
	if slices.Contains(gathering, keyword) {
		if !slices.ContainsFunc(e.values[keyword], func(had value) bool { return had.text == v.text }) {
			e.values[keyword] = append(e.values[keyword], v)
		}
		return
	}
	if e.values[keyword] != nil {
		return
	}
	if !slices.Contains(listed, keyword) {
		e.values[keyword] = []value{v}
		return
	}
	for _, word := range fields(raw) {
		e.values[keyword] = append(e.values[keyword], value{text: word, file: v.file, line: v.line})
	}
}

// include reads what an Include names. In a block that does not count nothing
// in the files does.
func (e *evaluation) include(v value, raw string, ofUser, active bool, depth int) error {
	dir := filepath.Join(e.env.home, ".ssh")
	if !ofUser {
		dir = e.env.systemDir
	}
	for _, word := range fields(raw) {
		pattern, err := e.env.expandHome(word)
		if err != nil {
			return v.fail("Include %s: %w", word, err)
		}
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		files, err := filepath.Glob(pattern)
		if err != nil {
			return v.fail("Include %s: %w", word, err)
		}
		for _, file := range files {
			if err := e.read(file, ofUser, active, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// match evaluates a Match. A criterion that kita cannot judge is an error where
// it decides, and none where another has said no before.
func (e *evaluation) match(v value, raw string) (bool, error) {
	words := fields(strings.ReplaceAll(raw, "=", " "))
	if len(words) == 0 {
		return false, v.fail("Match needs a criterion")
	}
	result := true
	for len(words) > 0 {
		name, negated := strings.CutPrefix(strings.ToLower(words[0]), "!")
		words = words[1:]
		var holds bool
		switch name {
		case "all":
			holds = true
		case "final":
			holds, e.wantsFinal = e.final, true
		case "canonical":
			holds = e.final
		default:
			if len(words) == 0 {
				return false, v.fail("Match %s needs a value", name)
			}
			var err error
			if holds, err = e.criterion(name, words[0]); err != nil && result {
				return false, v.fail("%w", err)
			}
			words = words[1:]
		}
		result = result && holds != negated
	}
	return result, nil
}

func (e *evaluation) criterion(name, patterns string) (bool, error) {
	var subject string
	switch name {
	case "originalhost":
		subject = e.original
	case "host":
		subject = e.original
		if v := e.values["hostname"]; v != nil {
			subject = strings.ReplaceAll(v[0].text, "%h", e.original)
		}
	case "user":
		subject = e.user
		if v := e.values["user"]; subject == "" && v != nil {
			subject = v[0].text
		}
		if subject == "" {
			subject = e.env.user
		}
	case "localuser":
		subject = e.env.user
	default:
		return false, fmt.Errorf("kita does not know `Match %s`; put the settings of this host into a `Host` of their own, before this line", name)
	}
	block := ssh_config.Host{}
	for _, text := range strings.Split(patterns, ",") {
		p, err := ssh_config.NewPattern(text)
		if err != nil {
			return false, fmt.Errorf("a pattern of `Match %s %s` is empty", name, patterns)
		}
		block.Patterns = append(block.Patterns, p)
	}
	return block.Matches(subject), nil
}

// readConfigFile reads a file of bounded size; a pipe would not end.
func readConfigFile(path string, ofUser bool) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		if path == os.DevNull {
			return nil, nil
		}
		return nil, errors.New("it is no file")
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ofUser && ok {
		if owner.Uid != 0 && int(owner.Uid) != os.Getuid() {
			return nil, fmt.Errorf("it belongs to user %d, so it is not trusted", owner.Uid)
		}
		if info.Mode().Perm()&0o022 != 0 {
			return nil, fmt.Errorf("others may write it, so it is not trusted: chmod go-w %s", path)
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(text) > maxConfigFile {
		return nil, errors.New("it is larger than 1 MiB")
	}
	return text, nil
}

// withoutPath takes the path off an error which names it already.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// decode is the library's; a mistake of its own is an error of the file.
func decode(text []byte) (parsed *ssh_config.Config, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be understood: %v", r)
		}
	}()
	parsed, err = ssh_config.DecodeBytes(text)
	if err != nil {
		return nil, errors.New(strings.TrimSpace(err.Error()))
	}
	return parsed, nil
}

// hide renames the keywords that are evaluated here, line by line, and gives
// the library the Host lines in the one form that it reads.
func hide(text []byte) []byte {
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		trimmed := bytes.TrimSpace(line)
		end := bytes.IndexAny(trimmed, " \t=\"")
		if end < 0 {
			end = len(trimmed)
		}
		rest := trimmed[end:]
		switch strings.ToLower(string(trimmed[:end])) {
		case "match":
			lines[i] = append([]byte(hiddenMatch+" "), bytes.TrimLeft(rest, " \t=")...)
		case "include":
			lines[i] = append([]byte(hiddenInclude+" "), bytes.TrimLeft(rest, " \t=")...)
		case "host":
			lines[i] = []byte("Host " + strings.Join(fields(string(bytes.TrimLeft(rest, " \t="))), " "))
		default:
			lines[i] = trimmed
		}
	}
	// The library forgets a last line without an end.
	return append(bytes.Join(lines, []byte("\n")), '\n')
}

// raw is the text after the keyword, with its quotes, which the library takes
// off where they are around the whole.
func raw(kv *ssh_config.KV) string {
	text := strings.TrimSpace(kv.String())
	text = strings.TrimLeft(text[len(kv.Key):], " \t=")
	if kv.Comment != "" {
		text = strings.TrimSuffix(text, "#"+kv.Comment)
	}
	return strings.TrimSpace(text)
}

// fields splits at white space outside double quotes; a # begins a comment.
func fields(text string) []string {
	var (
		words          []string
		word           strings.Builder
		inWord, quoted bool
	)
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	for _, r := range text {
		switch {
		case r == '"':
			quoted, inWord = !quoted, true
		case !quoted && (r == ' ' || r == '\t' || r == '\r' || r == '\n'):
			end()
		case !quoted && !inWord && r == '#':
			return words
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	end()
	return words
}
