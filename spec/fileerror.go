package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFileErrors bounds what one file can report; a crafted file could
// otherwise make a report much larger than itself.
const maxFileErrors = 100

// FileError is one thing that is wrong in a configuration file.
type FileError struct {
	File string
	// Line counts from 1.
	Line int
	// Key is the path of the key, "stop.grace"; "yaml" where the file as a
	// whole is meant.
	Key string
	// Message says what is wrong and what to write instead.
	Message string
}

func (e FileError) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s", printable(e.File), e.Line, printable(e.Key), e.Message)
}

// FileErrors is everything that is wrong in a file, in the order of its lines.
// It is never empty where it is an error.
type FileErrors []FileError

// Error has a line for each error.
func (es FileErrors) Error() string { return strings.Join(es.Lines(), "\n") }

// Lines returns the text of each error.
func (es FileErrors) Lines() []string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return lines
}

func (es FileErrors) sort() {
	slices.SortStableFunc(es, func(a, b FileError) int { return cmp.Compare(a.Line, b.Line) })
}

// quoted shows a value of the file in a message: on one line, and no longer
// than a line should be.
func quoted(s string) string { return strconv.Quote(shortened(s)) }

// printable is s unless s would break the line it stands in.
func printable(s string) string {
	if s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, unbecoming) {
		return s
	}
	return quoted(s)
}

// FirstLine is the first line of a message that may have several, and says how
// many follow it. A last line "and 24 more", with or without words behind it,
// stands for as many.
func FirstLine(text string) string {
	text = strings.TrimRight(text, "\r\n")
	first, rest, more := strings.Cut(text, "\n")
	first = strings.TrimRight(first, "\r")
	if !more {
		return first
	}
	following := uint64(strings.Count(rest, "\n"))
	return fmt.Sprintf("%s (and %d more)", first, following+standsFor(rest[strings.LastIndexByte(rest, '\n')+1:]))
}

// standsFor is how many lines of a message its last one is in place of, itself
// where it is not "and 24 more".
func standsFor(last string) uint64 {
	words := strings.Fields(last)
	if len(words) < 3 || words[0] != "and" || words[2] != "more" {
		return 1
	}
	// More than 31 bits have never been counted.
	n, err := strconv.ParseUint(words[1], 10, 31)
	if err != nil {
		return 1
	}
	return n
}

func unbecoming(r rune) bool { return !unicode.IsPrint(r) }

func shortened(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// choices joins words for a sentence: "a, b or c".
func choices(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// nearest returns the candidate that word was probably meant to be.
func nearest(word string, candidates []string) (string, bool) {
	best, bestDistance := "", 3
	for _, c := range candidates {
		if strings.EqualFold(word, c) {
			return c, true
		}
		if d := len(word) - len(c); d > 2 || d < -2 {
			continue
		}
		if d := distance(word, c); d < bestDistance && d < len(c)/2+1 {
			best, bestDistance = c, d
		}
	}
	return best, best != ""
}

// distance is the optimal string alignment distance: the number of letters to
// add, drop, change or swap with a neighbour.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
