package spec

import (
	"errors"
	"fmt"
	"strings"
)

// splitCommand splits a command line into words as a POSIX shell does (Shell
// Command Language, 2.2 Quoting), without expanding anything: $HOME, * and ~
// stay as they are. What only a shell can do is an error that says how to ask
// for one.
//
// The libraries for this let \n mean a line break and drop the backslash of
// "\d"; a shell does neither.
func splitCommand(line string) ([]string, error) {
	var s splitter
	words, err := s.split(line)
	switch {
	case err != nil:
		return nil, err
	case len(words) == 0 || words[0] == "":
		return nil, errors.New("the program is empty, write ./server --port 80")
	}
	return words, nil
}

// SplitWords splits a command line that names no program, in the way of
// splitCommand: it may be empty, and begin with NAME=VALUE.
func SplitWords(line string) ([]string, error) {
	s := splitter{noProgram: true}
	return s.split(line)
}

type splitter struct {
	// noProgram: the first word is not one that a shell would run.
	noProgram bool

	rest  string
	words []string
	word  strings.Builder
	// inWord: a word has begun, perhaps an empty one ("").
	inWord bool
	// quotedName: a part of the word before any = was quoted, so that a shell
	// would not take the word for an assignment.
	quotedName bool
	err        error
}

func (s *splitter) split(line string) ([]string, error) {
	s.rest = strings.TrimLeft(line, " \t\r\n")
	for s.err == nil && s.rest != "" {
		s.next()
	}
	s.endWord()
	return s.words, s.err
}

// next takes one character, or one quoted part.
func (s *splitter) next() {
	c := s.rest[0]
	switch c {
	case ' ', '\t', '\r':
		s.endWord()
	case '\n':
		if strings.Trim(s.rest, " \t\r\n") == "" { // the end of a block of text
			s.rest = ""
			return
		}
		s.err = errors.New("a line break ends a command, " + asShell + ", or fold the lines with command: >")
		if s.noProgram {
			s.err = errors.New("a line break ends a command, give one at a time")
		}
	case '\\':
		s.escape()
		return
	case '\'':
		s.quoted(1+strings.IndexByte(s.rest[1:], '\''), func(text string) string { return text })
		return
	case '"':
		s.quoted(closingQuote(s.rest), unescaped)
		return
	case '|', '&', ';', '<', '>', '(', ')', '`':
		s.err = fmt.Errorf("%q has a meaning only a shell knows, %s, or put it in quotes", c, asShell)
		if s.noProgram {
			s.err = fmt.Errorf("%q has a meaning only a shell knows, and this is none: put it in quotes", c)
		}
	default:
		s.word.WriteByte(c)
		s.inWord = true
	}
	s.rest = s.rest[1:]
}

// asShell is the remedy for a command that needs a shell.
const asShell = `write ["sh", "-c", "..."]`

// escape takes a backslash outside of quotes and what follows it.
func (s *splitter) escape() {
	switch {
	case len(s.rest) == 1:
		s.err = errors.New(`a backslash at the end quotes nothing, write \\ for a backslash`)
		s.rest = ""
	case s.rest[1] == '\n':
		s.rest = s.rest[2:]
	default:
		s.writeQuoted(s.rest[1:2])
		s.rest = s.rest[2:]
	}
}

// quoted takes a quoted part whose closing quote is at end, 0 if there is none.
func (s *splitter) quoted(end int, text func(string) string) {
	if end <= 0 {
		s.err = fmt.Errorf("the quote %c is not closed, close it or write \\%c", s.rest[0], s.rest[0])
		s.rest = ""
		return
	}
	s.writeQuoted(text(s.rest[1:end]))
	s.rest = s.rest[end+1:]
}

func (s *splitter) writeQuoted(text string) {
	s.inWord = true
	s.quotedName = s.quotedName || !strings.Contains(s.word.String(), "=")
	s.word.WriteString(text)
}

func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return 0
}

// unescaped resolves the backslashes that mean something in double quotes.
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			switch s[i+1] {
			case '\n':
				i++
				continue
			case '"', '\\', '$', '`':
				i++
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (s *splitter) endWord() {
	if !s.inWord || s.err != nil {
		return
	}
	word := s.word.String()
	if len(s.words) == 0 && !s.noProgram && !s.quotedName && isAssignment(word) {
		s.err = fmt.Errorf("%s sets a variable only in a shell, write it under env", quoted(word))
		return
	}
	s.words = append(s.words, word)
	s.word.Reset()
	s.inWord, s.quotedName = false, false
}

// isAssignment tells whether a shell would take its first word for NAME=VALUE.
func isAssignment(word string) bool {
	name, _, found := strings.Cut(word, "=")
	if !found || name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for _, c := range []byte(name) {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// displayWords writes words so that a shell, and splitCommand, would read them
// back.
func displayWords(words []string) string {
	shown := make([]string, len(words))
	for i, w := range words {
		if w == "" || i == 0 && isAssignment(w) || strings.ContainsAny(w, " \t\r\n\\'\"|&;<>()`$*?[#~") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		shown[i] = w
	}
	return strings.Join(shown, " ")
}
