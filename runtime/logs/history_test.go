package logs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"kita/spec"
)

var (
	onlyOut = []spec.StreamName{spec.Out}
	onlyErr = []spec.StreamName{spec.Err}
	both    = []spec.StreamName{spec.Out, spec.Err}
	noon    = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

// at is so many seconds after noon.
func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// shown is a chunk as a line of a table: "SOURCE [STREAM] [SECONDS] TEXT …".
func shown(c spec.LogChunk) string {
	if c.CaughtUp {
		return "caught up"
	}
	var b strings.Builder
	b.WriteString(c.Source)
	if c.Stream != "" {
		fmt.Fprintf(&b, " %s", c.Stream)
	}
	if !c.Time.IsZero() {
		fmt.Fprintf(&b, " %gs", c.Time.Sub(noon).Seconds())
	}
	if c.Lost > 0 {
		fmt.Fprintf(&b, " lost %d", c.Lost)
	}
	switch {
	case c.Bytes != nil:
		fmt.Fprintf(&b, " bytes %q", c.Bytes)
	case c.Text != "":
		fmt.Fprintf(&b, " %q", c.Text)
	}
	if c.Partial {
		b.WriteString(" partial")
	}
	return b.String()
}

// collect is what Send sends of a request that does not follow.
func collect(t *testing.T, set Set, req spec.LogRequest) (chunks []spec.LogChunk, err error) {
	t.Helper()
	var grep *regexp.Regexp
	if req.Grep != "" {
		grep = regexp.MustCompile(req.Grep)
	}
	err = Send(t.Context(), set, req, grep, at(1000), func(c spec.LogChunk) error {
		chunks = append(chunks, c)
		return nil
	})
	return chunks, err
}

func lines(chunks []spec.LogChunk) string {
	var all []string
	for _, c := range chunks {
		all = append(all, shown(c))
	}
	return strings.Join(all, "\n")
}

func TestHistory(t *testing.T) {
	tail := func(n int) *int { return &n }
	plain := func(f *fake) fixed { return fixed{{Child: "web", Streams: both, Source: f}} }
	sampled := func() *fake {
		return newFake("").write(at(1), "one\ntwo\n").write(at(2), "three\n").write(at(3), "four\n")
	}
	stamped := "2026-11-21T12:00:01Z one\n2026-11-21T12:00:02Z two\n  more of two\n2026-11-21T12:00:04Z four\n"
	prefixed := "web out: one\nweb err: two\nkita: 3 lines were dropped here\ndb out: three\n"
	object := `{"time":"2026-11-21T12:00:01Z","child":"web","stream":"out","line":"one"}` + "\n" +
		`{"time":"2026-11-21T12:00:02Z","child":"web","stream":"err","line":"two"}` + "\n"
	pumped := func(f *fake, format spec.Format, timestamps, prefix bool) fixed {
		return fixed{{Child: "web", Streams: both, Format: format, Timestamps: timestamps, Prefix: prefix, Source: f}}
	}
	tests := []struct {
		name string
		set  fixed
		req  spec.LogRequest
		want []string
	}{
		{"nothing was written", plain(newFake("")), spec.LogRequest{}, nil},
		{"all", plain(newFake("one\ntwo\n")), spec.LogRequest{}, []string{`web/out+err "one\ntwo\n"`}},
		{"a last line without an end", plain(newFake("one\ntw")), spec.LogRequest{}, []string{`web/out+err "one\ntw" partial`}},
		{"not UTF-8", plain(newFake("\xff\n")), spec.LogRequest{}, []string{`web/out+err bytes "\xff\n"`}},
		{"a chunk for each time", plain(sampled()), spec.LogRequest{}, []string{
			`web/out+err 1s "one\ntwo\n"`, `web/out+err 2s "three\n"`, `web/out+err 3s "four\n"`}},
		{"what was removed was never asked for", plain(newFake("one\ntwo\n").remove(4)), spec.LogRequest{}, []string{`web/out+err "two\n"`}},

		{"no tail", plain(newFake("one\ntwo\n")), spec.LogRequest{Tail: tail(0)}, nil},
		{"no tail of an unfinished line", plain(newFake("one\ntw")), spec.LogRequest{Tail: tail(0)}, nil},
		{"tail", plain(newFake("one\ntwo\nthree\n")), spec.LogRequest{Tail: tail(2)}, []string{`web/out+err "two\nthree\n"`}},
		{"tail counts an unfinished line", plain(newFake("one\ntwo\nthr")), spec.LogRequest{Tail: tail(2)}, []string{`web/out+err "two\nthr" partial`}},
		{"tail of more than there is", plain(newFake("one\ntwo\n")), spec.LogRequest{Tail: tail(9)}, []string{`web/out+err "one\ntwo\n"`}},
		{"tail over archives", plain(newFake("one\ntwo\n").cut().write(noon, "three\n").cut().write(noon, "four\n")), spec.LogRequest{Tail: tail(3)},
			[]string{`web/out+err 0s "two\nthree\nfour\n"`}},
		{"tail counts what is shown", plain(newFake("one a\ntwo\none b\ntwo\n")), spec.LogRequest{Tail: tail(1), Grep: "one"}, []string{`web/out+err "one b\n"`}},

		{"since, by when it was seen", plain(sampled()), spec.LogRequest{Since: at(2)}, []string{`web/out+err 2s "three\n"`, `web/out+err 3s "four\n"`}},
		{"since, from the line's beginning", plain(newFake("").write(at(1), "one\ntw").write(at(3), "o\n")), spec.LogRequest{Since: at(2)},
			[]string{`web/out+err 1s "two\n"`}},
		{"since a time to come", plain(sampled()), spec.LogRequest{Since: at(9)}, nil},
		{"age", plain(sampled()), spec.LogRequest{Age: spec.Duration(998 * time.Second)}, []string{`web/out+err 2s "three\n"`, `web/out+err 3s "four\n"`}},
		{"since and tail", plain(sampled()), spec.LogRequest{Since: at(2), Tail: tail(1)}, []string{`web/out+err 3s "four\n"`}},
		{"since and a longer tail", plain(sampled()), spec.LogRequest{Since: at(3), Tail: tail(3)}, []string{`web/out+err 3s "four\n"`}},
		{"since, by the line's own time", pumped(newFake(stamped), spec.Text, true, false), spec.LogRequest{Since: at(2)}, []string{
			`web/out+err 2s "2026-11-21T12:00:02Z two\n  more of two\n"`, `web/out+err 4s "2026-11-21T12:00:04Z four\n"`}},
		{"since passes over a line without a time", pumped(newFake(stamped), spec.Text, true, false), spec.LogRequest{Since: at(3)}, []string{
			`web/out+err 4s "2026-11-21T12:00:04Z four\n"`}},

		{"grep", plain(newFake("one\ntwo\nthree\n")), spec.LogRequest{Grep: "^t.*[eo]$"}, []string{`web/out+err "two\nthree\n"`}},
		{"grep does not see the line end", plain(newFake("one\r\ntwo\n")), spec.LogRequest{Grep: `^one$`}, []string{`web/out+err "one\r\n"`}},
		{"grep with an unfinished line", plain(newFake("one\non")), spec.LogRequest{Grep: "on"}, []string{`web/out+err "one\non" partial`}},
		{"grep finds nothing", plain(newFake("one\n")), spec.LogRequest{Grep: "two"}, nil},

		{"a stream of its own file", fixed{{Child: "web", Streams: onlyOut, Source: newFake("one\n")}, {Child: "web", Streams: onlyErr, Source: newFake("two\n")}},
			spec.LogRequest{Stream: spec.Err}, []string{`web/err err "two\n"`}},
		{"a shared file is in either", plain(newFake("one\n")), spec.LogRequest{Stream: spec.Err}, []string{`web/out+err "one\n"`}},
		{"streams by the prefix", pumped(newFake(prefixed), spec.Text, false, true), spec.LogRequest{}, []string{
			`web/out+err out "web out: one\n"`, `web/out+err err "web err: two\n"`, `web/out+err "kita: 3 lines were dropped here\n"`}},
		{"one stream by the prefix", pumped(newFake(prefixed), spec.Text, false, true), spec.LogRequest{Stream: spec.Out}, []string{
			`web/out+err out "web out: one\n"`, `web/out+err "kita: 3 lines were dropped here\n"`}},
		{"one stream by the field", pumped(newFake(object), spec.JSON, true, true), spec.LogRequest{Stream: spec.Err}, []string{
			fmt.Sprintf("web/out+err err 2s %q", strings.SplitAfter(object, "\n")[1])}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			chunks, err := collect(t, tc.set, tc.req)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := lines(chunks), strings.Join(append(tc.want, "caught up"), "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			for _, n := range tc.set {
				if open, _, _ := n.Source.(*fake).readers(); open != 0 {
					t.Errorf("%d readers are left open", open)
				}
			}
		})
	}
}

func TestSourcesAreMergedByTime(t *testing.T) {
	web := newFake("").write(at(1), "one\n").write(at(4), "four\n").write(at(5), "five\n")
	stamped := "2026-11-21T12:00:02Z a\n2026-11-21T12:00:03Z b\n2026-11-21T12:00:05Z c\n"
	set := fixed{
		{Child: "db", Streams: both, Format: spec.Text, Timestamps: true, Source: newFake(stamped)},
		{Child: "old", Streams: both, Source: newFake("of no known time\n").write(at(4), "last\n")},
		{Child: "web", Streams: both, Source: web},
	}
	// The first write of old is seen by the sample of the second.
	old := set[1].Source.(*fake)
	old.samples = []sample{{17, time.Time{}}, {22, at(4)}}
	want := `old/out+err "of no known time\n"
web/out+err 1s "one\n"
db/out+err 2s "2026-11-21T12:00:02Z a\n"
db/out+err 3s "2026-11-21T12:00:03Z b\n"
old/out+err 4s "last\n"
web/out+err 4s "four\n"
db/out+err 5s "2026-11-21T12:00:05Z c\n"
web/out+err 5s "five\n"
caught up`
	chunks, err := collect(t, set, spec.LogRequest{})
	if got := lines(chunks); err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestLinesOfAboutTheSameTimeShareAChunk(t *testing.T) {
	stamped := "2026-11-21T12:00:01Z a\n2026-11-21T12:00:01.1Z b\n2026-11-21T12:00:01.101Z c\n2026-11-21T12:00:01Z d\n"
	timed := func(child string, f *fake) Named {
		return Named{Child: child, Streams: both, Format: spec.Text, Timestamps: true, Source: f}
	}
	alone := `web/out+err 1s "2026-11-21T12:00:01Z a\n2026-11-21T12:00:01.1Z b\n"
web/out+err 1.101s "2026-11-21T12:00:01.101Z c\n"
web/out+err 1s "2026-11-21T12:00:01Z d\n"
caught up`
	chunks, err := collect(t, fixed{timed("web", newFake(stamped))}, spec.LogRequest{})
	if got := lines(chunks); err != nil || got != alone {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, alone)
	}
	// A line of another source comes between all the same.
	chunks, err = collect(t, fixed{
		timed("web", newFake("2026-11-21T12:00:01Z a\n2026-11-21T12:00:01.1Z b\n")),
		timed("db", newFake("2026-11-21T12:00:01.05Z x\n")),
	}, spec.LogRequest{})
	want := `web/out+err 1s "2026-11-21T12:00:01Z a\n"
db/out+err 1.05s "2026-11-21T12:00:01.05Z x\n"
web/out+err 1.1s "2026-11-21T12:00:01.1Z b\n"
caught up`
	if got := lines(chunks); err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestMergeStaysInOrderWhenLinesAreLeftOut(t *testing.T) {
	set := fixed{
		{Child: "a", Streams: both, Source: newFake("").write(at(1), "no\n").write(at(5), "yes a\n")},
		{Child: "b", Streams: both, Source: newFake("").write(at(3), "yes b\n")},
	}
	chunks, err := collect(t, set, spec.LogRequest{Grep: "yes"})
	want := "b/out+err 3s \"yes b\\n\"\na/out+err 5s \"yes a\\n\"\ncaught up"
	if got := lines(chunks); err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestLongLinesAreSplit(t *testing.T) {
	long := strings.Repeat("é", 3*chunkSize/4) // 1.5 chunks
	text := "a" + long + "\nshort\n"           // the limit is within a character
	chunks, err := collect(t, fixed{{Child: "web", Streams: both, Source: newFake(text)}}, spec.LogRequest{})
	if err != nil || len(chunks) != 3 {
		t.Fatalf("got %d chunks, %v", len(chunks), err)
	}
	if first := chunks[0]; !first.Partial || first.Bytes != nil || len(first.Text) != chunkSize-1 {
		t.Errorf("the first piece has %d bytes of text, partial %v", len(first.Text), first.Partial)
	}
	if got := chunks[0].Text + chunks[1].Text; got != text || chunks[1].Partial {
		t.Errorf("the pieces are not the text, or the last is partial")
	}
}

func TestALongLineIsJudgedByItsBeginning(t *testing.T) {
	long := strings.Repeat("x", chunkSize)
	text := "yes" + long + "no\nno" + long + "yes\nyes\n"
	chunks, err := collect(t, fixed{{Child: "web", Streams: both, Source: newFake(text)}}, spec.LogRequest{Grep: "yes"})
	var got strings.Builder
	for _, c := range chunks {
		got.WriteString(c.Text)
	}
	if want := "yes" + long + "no\nyes\n"; err != nil || got.String() != want {
		t.Errorf("got %d bytes, %v, want %d", got.Len(), err, len(want))
	}
}

func TestTailReadsLittleOfALargeFile(t *testing.T) {
	f := newFake(strings.Repeat("0123456789abcde\n", 1<<20)).cut().write(noon, strings.Repeat("0123456789abcde\n", 1<<20))
	n := 10
	chunks, err := collect(t, fixed{{Child: "web", Streams: both, Source: f}}, spec.LogRequest{Tail: &n})
	if err != nil || len(chunks) != 2 || strings.Count(chunks[0].Text, "\n") != n {
		t.Fatalf("got %d chunks, %v", len(chunks), err)
	}
	if _, _, read := f.readers(); read > 8*chunkSize {
		t.Errorf("%d bytes were read", read)
	}
}

func TestTailOfAnyLengthIsThatOfTheText(t *testing.T) {
	for _, size := range []int{1, 100, chunkSize - 1, chunkSize, 3 * chunkSize} {
		var text strings.Builder
		for i := range 6 {
			fmt.Fprintf(&text, "%d%s\n", i, strings.Repeat("x", size))
		}
		whole := text.String()
		all := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
		for n := range len(all) + 1 {
			f := newFake(whole)
			f.cuts = []uint64{uint64(len(all[0])), uint64(len(all[0]) + len(all[1]))}
			chunks, err := collect(t, fixed{{Child: "web", Streams: both, Source: f}}, spec.LogRequest{Tail: &n})
			var got strings.Builder
			for _, c := range chunks {
				got.WriteString(c.Text)
			}
			want := whole[len(whole)-n*(size+2):]
			if err != nil || got.String() != want {
				t.Errorf("lines of %d bytes, the last %d: got %d bytes, %v, want %d", size, n, got.Len(), err, len(want))
			}
		}
	}
}

func TestASourceThatCannotBeReadKeepsNoOtherBack(t *testing.T) {
	broken := newFake("one\n")
	broken.fail(errors.New("input/output error"))
	chunks, err := collect(t, fixed{{Child: "a", Streams: both, Source: broken}, {Child: "b", Streams: both, Source: newFake("two\n")}}, spec.LogRequest{})
	if got, want := lines(chunks), "b/out+err \"two\\n\"\ncaught up"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if want := "the output of a/out+err: input/output error"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFewFilesAreOpenAtOnce(t *testing.T) {
	var set fixed
	most, open := 0, 0
	count := func(n int) { open += n; most = max(most, open) }
	for i := range 3 * openReaders {
		f := newFake("")
		for j := range 5 {
			f.write(at(10*j), fmt.Sprintf("%d of %d\n", j, i))
		}
		set = append(set, Named{Child: fmt.Sprintf("c%03d", i), Streams: both, Source: counted{f, count}})
	}
	chunks, err := collect(t, set, spec.LogRequest{})
	if err != nil || len(chunks) != 5*len(set)+1 {
		t.Fatalf("got %d chunks, %v", len(chunks), err)
	}
	for i := range chunks[:len(chunks)-2] {
		if chunks[i+1].Time.Before(chunks[i].Time) && !chunks[i+1].CaughtUp {
			t.Fatalf("chunk %d is out of order", i+1)
		}
	}
	if most > openReaders || open != 0 {
		t.Errorf("%d files were open at once, %d at the end", most, open)
	}
}

// counted tells how many readers are opened and closed.
type counted struct {
	*fake
	count func(n int)
}

func (c counted) Open(from uint64) (Reader, error) {
	r, err := c.fake.Open(from)
	c.count(1)
	return countedReader{r, c.count}, err
}

type countedReader struct {
	Reader
	count func(n int)
}

func (r countedReader) Close() error {
	r.count(-1)
	return r.Reader.Close()
}

func TestSendEndsWithItsReader(t *testing.T) {
	gone := errors.New("the reader is gone")
	f := newFake(strings.Repeat("line\n", 100000))
	sent := 0
	err := Send(t.Context(), fixed{{Child: "web", Streams: both, Source: f}}, spec.LogRequest{}, nil, noon, func(spec.LogChunk) error {
		if sent++; sent == 2 {
			return gone
		}
		return nil
	})
	if open, _, _ := f.readers(); !errors.Is(err, gone) || sent != 2 || open != 0 {
		t.Errorf("got %v after %d chunks, %d files are open", err, sent, open)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = Send(ctx, fixed{{Child: "web", Streams: both, Source: f}}, spec.LogRequest{}, nil, noon, func(spec.LogChunk) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v of a request that was cancelled", err)
	}
}

func TestACursorThatIsNoneIsRefused(t *testing.T) {
	req := spec.LogRequest{After: map[string]string{"web/out": "12"}}
	want := `after: "web/out": "12" is no place in an output, give what the next of a chunk was`
	if err := CheckAfter(req); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	chunks, err := collect(t, fixed{}, req)
	if len(chunks) != 0 || err == nil || err.Error() != want {
		t.Errorf("got %v, %v", chunks, err)
	}
}
