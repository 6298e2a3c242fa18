package pump

import (
	"bytes"
	"unicode/utf8"
)

// maxLine is how many bytes of a line are written in one piece.
const maxLine = 64 << 10

// lineEnd is how a piece of a line ends.
type lineEnd int

const (
	// whole: the line ends there.
	whole lineEnd = iota
	// split: the line goes on in the next piece.
	split
)

// nextLine takes the first piece off data: a line, without its line end, or as
// much of one as is written in one piece, of which first bytes have been written
// already. ok is false if data holds neither; it is an unfinished line then.
func nextLine(data []byte, first int) (piece, rest []byte, end lineEnd, ok bool) {
	limit := max(maxLine-first, 0)
	window := data[:min(len(data), limit+1)]
	if i := bytes.IndexByte(window, '\n'); i >= 0 {
		return data[:i], data[i+1:], whole, true
	}
	if len(data) <= limit {
		return nil, data, whole, false
	}
	cut := runeStart(data, limit)
	return data[:cut], data[cut:], split, true
}

// runeStart is the last place up to at where data can be cut without cutting a
// character; at itself where there is none, as in what is not UTF-8.
func runeStart(data []byte, at int) int {
	for cut := at; cut > max(at-utf8.UTFMax, 0); cut-- {
		if utf8.RuneStart(data[cut]) {
			return cut
		}
	}
	return at
}

// wholeLines is how many bytes at the beginning of data are lines that need no
// splitting, their line ends included. Of the first line first bytes have been
// written already.
func wholeLines(data []byte, first int) int {
	end := 0
	limit := max(maxLine-first, 0)
	for {
		window := data[end:min(len(data), end+limit+1)]
		i := bytes.LastIndexByte(window, '\n')
		if i < 0 {
			return end
		}
		end += i + 1
		limit = maxLine
	}
}
