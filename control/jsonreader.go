package control

import (
	"encoding"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// jsonReader reads JSON values one after the other. Its strings are parts of the
// text. Once bad it reads on, but nothing that is meant.
type jsonReader struct {
	text string
	at   int
	bad  bool
}

// isDone: all was read, and nothing follows.
func (r *jsonReader) isDone() bool {
	r.space()
	return !r.bad && r.at == len(r.text)
}

func (r *jsonReader) space() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\t' || r.text[r.at] == '\r') {
		r.at++
	}
}

// is takes c if it comes next.
func (r *jsonReader) is(c byte) bool {
	r.space()
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) must(c byte) { r.bad = !r.is(c) || r.bad }

// object calls member at the value of each key, which it has to read.
func (r *jsonReader) object(member func(key string)) {
	r.must('{')
	if r.bad || r.is('}') {
		return
	}
	for !r.bad {
		key := r.string()
		r.must(':')
		// encoding/json takes keys in any case.
		if r.bad = r.bad || !isPlainKey(key); r.bad {
			return
		}
		member(key)
		if !r.is(',') {
			r.must('}')
			return
		}
	}
}

// isPlainKey: nothing in it has another case.
func isPlainKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (r *jsonReader) array(element func()) {
	r.must('[')
	if r.bad || r.is(']') {
		return
	}
	for !r.bad {
		element()
		if !r.is(',') {
			r.must(']')
			return
		}
	}
}

func (r *jsonReader) string() string {
	r.must('"')
	if r.bad {
		return ""
	}
	begin := r.at
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[begin : r.at-1]
		case c == '\\', c < ' ', c > '~':
			return r.oddString(begin)
		}
		r.at++
	}
	r.bad = true
	return ""
}

// oddString is that with escapes, or with what may not be UTF-8.
func (r *jsonReader) oddString(begin int) (s string) {
	for r.at < len(r.text) && r.text[r.at] != '"' {
		if r.text[r.at] == '\\' {
			r.at++
		}
		r.at++
	}
	r.at++
	r.bad = r.bad || r.at > len(r.text) || json.Unmarshal([]byte(r.text[begin-1:r.at]), &s) != nil
	return s
}

// token is a number or a word.
func (r *jsonReader) token() string {
	r.space()
	begin := r.at
	for r.at < len(r.text) && strings.IndexByte(",]} \n\t\r", r.text[r.at]) < 0 {
		r.at++
	}
	return r.text[begin:r.at]
}

// uint is a number without a sign, a point or an exponent.
func (r *jsonReader) uint() uint64 {
	token := r.token()
	n, err := strconv.ParseUint(token, 10, 63)
	r.bad = r.bad || err != nil || len(token) > 1 && token[0] == '0'
	return n
}

func (r *jsonReader) boolean() bool {
	word := r.token()
	r.bad = r.bad || word != "true" && word != "false"
	return word == "true"
}

func (r *jsonReader) time() time.Time {
	text := r.string()
	t, err := time.Parse(time.RFC3339, text)
	r.bad = r.bad || err != nil
	return t
}

func (r *jsonReader) strings() []string {
	list := []string{}
	r.array(func() { list = append(list, r.string()) })
	return list
}

// parse reads a string that v makes something of.
func (r *jsonReader) parse(v encoding.TextUnmarshaler) {
	text := r.string()
	r.bad = r.bad || v.UnmarshalText([]byte(text)) != nil
}
