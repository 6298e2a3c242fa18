package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document is a YAML file on its way to a typed value. It collects everything
// that is wrong with it.
type document struct {
	file string
	// lines is how many there are. The library puts what is missing at the end
	// of a file on the line after it.
	lines int
	errs  FileErrors
	// visits bounds the values looked at, since each may stand behind any
	// number of aliases.
	visits int
	// closed: enough is known to be wrong, further errors are not taken.
	closed bool
}

const (
	// maxItems bounds the lines, list items and keys of a file, counted
	// roughly; the YAML library needs about 1 µs for each.
	maxItems = 50_000
	// maxVisits is far beyond what maxItems allows without aliases.
	maxVisits = 4 * maxItems
	// documentKey stands for the key in errors that are about the whole file.
	documentKey = "yaml"
)

// parse reads data as one YAML document. The node is nil where the
// document is empty, or where errors were found.
func (d *document) parse(data []byte) *yaml.Node {
	d.lines = countLines(data)
	if line, message := prescan(data); message != "" {
		d.failf(line, documentKey, "%s", message)
		return nil
	}
	node, more, err := decodeNodes(data)
	switch {
	case err != nil:
		message := withoutLine(err)
		d.failf(errorLine(data, err), documentKey, "%s", withRemedy(message))
		return nil
	case more != nil:
		d.failf(max(more.Line, 1), documentKey, "a second document starts here, write one document a file")
		return nil
	case node == nil || len(node.Content) == 0:
		return nil
	}
	return node.Content[0]
}

func (d *document) failf(line int, key, format string, args ...any) {
	if d.closed {
		return
	}
	if len(d.errs) == maxFileErrors {
		key, format, args, d.closed = documentKey, "more errors follow, correct these first", nil, true
	}
	line = max(min(line, d.lines), 1)
	d.errs = append(d.errs, FileError{d.file, line, key, fmt.Sprintf(format, args...)})
}

// err is nil, or everything that was found.
func (d *document) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	d.errs.sort()
	return d.errs
}

// prescan refuses, in one pass, what the YAML library would accept or would
// need a long time for: a directive costs it time in the square of their
// number, and every item some.
func prescan(data []byte) (line int, message string) {
	if at := invalidUTF8(data); at >= 0 {
		return lineOf(data, at), "is not UTF-8 text, save the file as UTF-8"
	}
	if at := bytes.IndexByte(data, 0); at >= 0 {
		return lineOf(data, at), "has a NUL byte, remove it"
	}
	items := 0
	line = 1
	for i, c := range data {
		switch c {
		case '\n':
			line++
			items++
		case '%':
			if i == 0 || data[i-1] == '\n' {
				return line, "YAML directives are not read, remove the line or put the text in quotes"
			}
		case ',', '[', '{', '?', '#', '\r':
			items++
		case '-', ':':
			if i+1 < len(data) && strings.IndexByte(" \t\n", data[i+1]) >= 0 {
				items++
			}
		}
		if items > maxItems {
			return line, fmt.Sprintf("has more than %d lines and items, split the file", maxItems)
		}
	}
	return 0, ""
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
}

// countLines counts lines as YAML 1.1 does, the version that the library reads.
func countLines(data []byte) int {
	n := 1
	for _, lineBreak := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(data, []byte(lineBreak))
	}
	n -= bytes.Count(data, []byte("\r\n"))
	if bytes.HasSuffix(data, []byte("\n")) {
		n--
	}
	return n
}

func lineOf(data []byte, at int) int { return 1 + bytes.Count(data[:at], []byte{'\n'}) }

// decodeNodes returns the first document, nil if there is none, and the
// second. The library panics on some broken input; that is an error here.
func decodeNodes(data []byte) (first, second *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			first, second, err = nil, nil, fmt.Errorf("yaml: the parser gave up: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var node, next yaml.Node
	if err := dec.Decode(&node); errors.Is(err, io.EOF) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	if err := dec.Decode(&next); errors.Is(err, io.EOF) {
		return &node, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	return &node, &next, nil
}

var libraryLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func withoutLine(err error) string { return libraryLine.ReplaceAllString(err.Error(), "") }

// errorLine finds the line of a syntax error. The library's own number is
// missing, one too small, or that of the enclosing block, depending on the
// error; so look for the shortest run of lines that has the same error.
func errorLine(data []byte, err error) int {
	const small = 64 << 10 // larger files would take too long
	if len(data) > small {
		line := 1
		if m := libraryLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			line, _ = strconv.Atoi(m[1])
		}
		return max(line, 1)
	}
	message := withoutLine(err)
	var ends []int
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	low, high := 0, len(ends) // the error is in line low+1 to high+1
	for low < high {
		mid := (low + high) / 2
		if _, _, err := decodeNodes(data[:ends[mid]]); err != nil && withoutLine(err) == message {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low == len(ends) && low > 0 && ends[low-1] == len(data) {
		return low // there is no line after the last line break
	}
	return low + 1
}

// withRemedy adds to the library's words what to do about it.
func withRemedy(message string) string {
	remedy := "correct the indentation or the quotes here"
	switch {
	case strings.Contains(message, "mapping values are not allowed"):
		remedy = `indent the keys of a mapping alike, and put text with a colon in quotes`
	case strings.Contains(message, "cannot start any token"):
		remedy = "indent with spaces, and put text that starts with a special character in quotes"
	case strings.Contains(message, "tab character"):
		remedy = "indent with spaces"
	case strings.Contains(message, "unexpected end of stream"):
		remedy = "close the quotes"
	case strings.Contains(message, "expected ',' or"):
		remedy = "close the bracket"
	case strings.Contains(message, "could not find expected ':'"):
		remedy = "write KEY: VALUE"
	case strings.Contains(message, "unknown anchor"):
		remedy = "put text that starts with * in quotes"
	case strings.Contains(message, "max depth"):
		remedy = "nothing here is nested that deep"
	}
	return shortMessage(message) + ", " + remedy
}

// shortMessage bounds the library's message, which can hold a piece of the
// file, and keeps it on one line.
func shortMessage(s string) string {
	if len(s) > 120 {
		s = s[:120]
	}
	return strings.Map(func(r rune) rune {
		if unbecoming(r) {
			return '?'
		}
		return r
	}, s)
}
