package pump

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

var webErr = Key{Child: "web", Incarnation: 3, Stream: spec.Err}

func TestLinesAreWrittenInTheirStyle(t *testing.T) {
	at := time.Date(2026, 11, 21, 14, 17, 41, 123456789, time.FixedZone("", 3600))
	text := attachment{Format: spec.Text}
	stamped := attachment{Format: spec.Text, Timestamps: true, Prefix: true}
	object := attachment{Format: spec.JSON}
	full := attachment{Format: spec.JSON, Timestamps: true, Prefix: true}
	tests := []struct {
		name  string
		how   attachment
		piece string
		end   lineEnd
		want  string
	}{
		{"text", text, "a\tb", whole, "a\tb\n"},
		{"text, split", text, "a", split, "a [kita: the line goes on]\n"},
		{"time and prefix", stamped, "a", whole, "2026-11-21T13:17:41.123456Z web err: a\n"},
		{"prefix", attachment{Format: spec.Text, Prefix: true}, "", whole, "web err: \n"},
		{"time", attachment{Format: spec.Text, Timestamps: true}, "a", whole, "2026-11-21T13:17:41.123456Z a\n"},
		{"object", object, "a", whole, `{"line":"a"}` + "\n"},
		{"empty object", object, "", whole, `{"line":""}` + "\n"},
		{"full object", full, "a", whole, `{"time":"2026-11-21T13:17:41.123456Z","child":"web","stream":"err","line":"a"}` + "\n"},
		{"object, split", object, "a", split, `{"line":"a","partial":true}` + "\n"},
		{"escapes", object, "\"\\\t\r\x00\x1b\x7fé", whole, `{"line":"\"\\\t\r\u0000\u001b` + "\x7f" + `é"}` + "\n"},
		{"no UTF-8", object, "a\xff", whole, `{"bytes":"Yf8="}` + "\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			f := newFormatter(styleOf(webErr, tc.how))
			f.stamp(at)
			if got := string(f.appendPiece(nil, []byte(tc.piece), tc.end)); got != tc.want {
				t.Errorf("got  %swant %s", got, tc.want)
			}
		})
	}
}

func TestDroppedLinesAreTold(t *testing.T) {
	tests := []struct {
		name  string
		how   attachment
		lines uint64
		want  string
	}{
		{"one", attachment{Format: spec.Text}, 1, "kita: 1 line was dropped here\n"},
		{"many", attachment{Format: spec.Text, Prefix: true}, 123, "web err: kita: 123 lines were dropped here\n"},
		{"object", attachment{Format: spec.JSON}, 123, `{"dropped":123}` + "\n"},
		{"with a prefix", attachment{Format: spec.JSON, Prefix: true}, 1, `{"child":"web","stream":"err","dropped":1}` + "\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			f := newFormatter(styleOf(webErr, tc.how))
			if got := string(f.appendDropped(nil, tc.lines)); got != tc.want {
				t.Errorf("got  %swant %s", got, tc.want)
			}
		})
	}
}

func TestLongLinesAreSplit(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct {
		name  string
		data  string
		first int
		want  []string
		rest  string
	}{
		{"lines", "a\nb\n", 0, []string{"a", "b"}, ""},
		{"unfinished", "a\nb", 0, []string{"a"}, "b"},
		{"empty lines", "\n\n", 0, []string{"", ""}, ""},
		{"as long as can be", long + "\n", 0, []string{long}, ""},
		{"as long as can be, unfinished", long, 0, nil, long},
		{"longer", long + "y\nz\n", 0, []string{long + splitMark, "y", "z"}, ""},
		{"longer, unfinished", long + "y", 0, []string{long + splitMark}, "y"},
		{"between characters", long[1:] + "éy\n", 0, []string{long[1:] + splitMark, "éy"}, ""},
		{"the rest of one begun", "xxxy\n", maxLine - 3, []string{"xxx" + splitMark, "y"}, ""},
		{"one begun that is full", "y\n", maxLine, []string{splitMark, "y"}, ""},
		{"one begun that ends", "\n", maxLine, []string{""}, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			pieces, rest := piecesOf([]byte(tc.data), tc.first)
			if got, want := strings.Join(pieces, "|"), strings.Join(tc.want, "|"); got != want || string(rest) != tc.rest {
				t.Errorf("got %.40q and %.40q, want %.40q and %.40q", got, rest, want, tc.rest)
			}
		})
	}
}

// piecesOf takes all pieces off data; split ones end with the mark.
func piecesOf(data []byte, first int) (pieces []string, rest []byte) {
	for {
		piece, after, end, ok := nextLine(data, first)
		if !ok {
			return pieces, data
		}
		text := string(piece)
		if end == split {
			text += splitMark
		}
		pieces = append(pieces, text)
		data, first = after, 0
	}
}

func TestWholeLinesStopAtALongOne(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct {
		name  string
		data  string
		first int
		want  int
	}{
		{"nothing", "", 0, 0},
		{"unfinished", "a", 0, 0},
		{"lines", "a\nb\nc", 0, 4},
		{"more than a window", strings.Repeat("abc\n", maxLine), 0, 4 * maxLine},
		{"as long as can be", long + "\n", 0, maxLine + 1},
		{"too long", "a\n" + long + "x\n", 0, 2},
		{"one begun that gets too long", "abcd\n", maxLine - 3, 0},
		{"one begun", "abc\n" + long + "\n", maxLine - 3, 4 + maxLine + 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := wholeLines([]byte(tc.data), tc.first); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

// FuzzLines sees that what is written says what was read, whatever that was.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), uint16(3))
	f.Add([]byte("\xff\x00\"\\\n"), uint16(32<<10))
	f.Add([]byte(strings.Repeat("é", maxLine)+"\nx"), uint16(960))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		// Now and then some of it is long enough to be split.
		if len(data) > 0 && at%32 == 0 {
			i := int(at) % len(data)
			data = append(append(bytes.Clone(data[:i]), bytes.Repeat(data[i:i+1], int(at)*4)...), data[i:]...)
		}
		for _, how := range []attachment{{Format: spec.Text, Prefix: true}, {Format: spec.JSON, Prefix: true, Timestamps: true}} {
			form := newFormatter(styleOf(webErr, how))
			var out []byte
			rest := data
			for {
				piece, after, end, ok := nextLine(rest, 0)
				if !ok {
					break
				}
				out, rest = form.appendPiece(out, piece, end), after
			}
			if len(rest) > maxLine {
				t.Fatalf("%d bytes are left", len(rest))
			}
			if got := append(decode(t, how, out), rest...); !bytes.Equal(got, data) {
				t.Fatalf("%s: %.80q became %.80q", how.Format, data, got)
			}
		}
		checkWholeLines(t, data)
	})
}

// checkWholeLines sees that wholeLines takes all up to a line that is too long, or
// unfinished, and that one not.
func checkWholeLines(t *testing.T, data []byte) {
	end := wholeLines(data, 0)
	for line := range bytes.Lines(data[:end]) {
		if len(line) > maxLine+1 || line[len(line)-1] != '\n' {
			t.Fatalf("%.40q is among the whole lines", line)
		}
	}
	if next := bytes.IndexByte(data[end:], '\n'); next >= 0 && next <= maxLine {
		t.Fatalf("%.40q is not among the whole lines", data[end:end+next])
	}
}

// decode undoes what a formatter does with webErr's lines.
func decode(t *testing.T, how attachment, out []byte) (data []byte) {
	for line := range bytes.Lines(out) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if how.Format == spec.Text {
			text, ok := bytes.CutPrefix(line, []byte("web err: "))
			if !ok {
				t.Fatalf("%.40q has no prefix", line)
			}
			if before, is := bytes.CutSuffix(text, []byte(splitMark)); is && len(before) >= maxLine-3 {
				data = append(data, before...)
				continue
			}
			data = append(append(data, text...), '\n')
			continue
		}
		var object struct {
			Time          time.Time
			Child, Stream string
			Line          *string
			Bytes         []byte
			Partial       bool
		}
		if err := json.Unmarshal(line, &object); err != nil {
			t.Fatalf("%.80q: %v", line, err)
		}
		if object.Line != nil {
			data = append(data, *object.Line...)
		}
		if data = append(data, object.Bytes...); !object.Partial {
			data = append(data, '\n')
		}
	}
	return data
}

func BenchmarkFormat(b *testing.B) {
	data := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 2600)
	for _, tc := range []struct {
		name string
		how  attachment
	}{
		{"text", attachment{Format: spec.Text, Timestamps: true, Prefix: true}},
		{"json", attachment{Format: spec.JSON, Timestamps: true, Prefix: true}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			f := newFormatter(styleOf(webErr, tc.how))
			out := make([]byte, 0, 4*len(data))
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				out = out[:0]
				for rest := data; ; {
					piece, after, end, ok := nextLine(rest, 0)
					if !ok {
						break
					}
					out, rest = f.appendPiece(out, piece, end), after
				}
			}
		})
	}
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if wholeLines(data, 0) != len(data) {
				b.Fatal("lines are missing")
			}
		}
	})
}
