package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"unicode/utf8"

	"kita/spec"
)

// journalFormat is the version in a journal's first record.
const journalFormat = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is one line of the journal. Only the first has Format.
type record struct {
	Format int `json:"format,omitempty"`
	// Boot: a server began to run in this boot, so the one before it is not
	// the last any more, however it ended.
	Boot string `json:"boot,omitempty"`
	// Ended: the server was ended by the kill command.
	Ended  bool                    `json:"ended,omitempty"`
	Set    map[string]spec.Desired `json:"set,omitempty"`
	Forget []string                `json:"forget,omitempty"`
}

// state is what a journal says.
type state struct {
	boot    string
	ended   bool
	desired map[string]spec.Desired
}

func newState() state { return state{desired: map[string]spec.Desired{}} }

func (st *state) apply(r record) {
	if r.Boot != "" {
		st.boot, st.ended = r.Boot, false
	}
	if r.Ended {
		st.ended = true
	}
	for name, d := range r.Set {
		// Of two commands at once the earlier may reach the disk later.
		if d.Generation >= st.desired[name].Generation {
			st.desired[name] = d
		}
	}
	for _, name := range r.Forget {
		delete(st.desired, name)
	}
}

// snapshot encodes st as the beginning of a journal.
func (st *state) snapshot() ([]byte, error) {
	records := []record{{Format: journalFormat}}
	if st.boot != "" {
		records = append(records, record{Boot: st.boot})
	}
	if st.ended {
		records = append(records, record{Ended: true})
	}
	for _, name := range slices.Sorted(maps.Keys(st.desired)) {
		records = append(records, record{Set: map[string]spec.Desired{name: st.desired[name]}})
	}
	var out []byte
	for _, r := range records {
		line, err := encodeLine(r)
		if err != nil {
			return nil, err
		}
		out = append(out, line...)
	}
	return out, nil
}

// formatError says that a journal was written by a kita with another format.
// It is no damage: such a file must be left alone.
type formatError struct{ format int }

func (e *formatError) Error() string {
	return fmt.Sprintf("the journal has format %d and this kita reads only %d: run the version that wrote it, or move the file away", e.format, journalFormat)
}

// damageError says that a journal cannot be read from line on.
type damageError struct {
	line int
	// torn: what follows is one unfinished line, or blocks that were never
	// filled, as a crash during an append leaves them. Nothing of it can have
	// been acknowledged.
	torn  bool
	cause error
}

func (e *damageError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.cause) }

func (e *damageError) Unwrap() error { return e.cause }

// readJournal returns the state that data tells and the length of the part that
// tells it. The error, if any, is a *formatError or a *damageError.
func readJournal(data []byte) (st state, good int, err error) {
	st = newState()
	for n := 1; ; n++ {
		rest := data[good:]
		if len(rest) == 0 && n > 1 {
			return st, good, nil
		}
		r, size, err := readRecord(rest, n == 1)
		var format *formatError
		if errors.As(err, &format) {
			return newState(), 0, err
		}
		if err != nil {
			return st, good, &damageError{line: n, torn: n > 1 && isTorn(rest), cause: err}
		}
		st.apply(r)
		good += size
	}
}

// readRecord reads the record that data begins with.
func readRecord(data []byte, first bool) (r record, size int, err error) {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return r, 0, errors.New("no line end")
	}
	if err := decodeLine(data[:end], &r); err != nil {
		return r, 0, err
	}
	switch {
	case first && r.Format == 0:
		return r, 0, errors.New("the first record has no format")
	case first && r.Format != journalFormat:
		return r, 0, &formatError{format: r.Format}
	case !first && r.Format != 0:
		return r, 0, errors.New("a second first record")
	}
	return r, end + 1, nil
}

// isTorn tells an append that a crash interrupted from other damage.
func isTorn(rest []byte) bool {
	return !bytes.Contains(rest, []byte{'\n'}) || len(bytes.Trim(rest, "\x00")) == 0
}

// encodeLine returns v as JSON on a line that starts with its CRC.
func encodeLine(v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("00000000 ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	putSum(bytes.TrimSuffix(b.Bytes(), []byte{'\n'}))
	return b.Bytes(), nil
}

// putSum writes the CRC of a line without its end over the line's first eight
// bytes.
func putSum(line []byte) {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(line[9:], castagnoli))
	hex.Encode(line, sum)
}

// decodeLine is the reverse of encodeLine, for a line without its end.
func decodeLine(line []byte, v any) error {
	if len(line) < 9 || line[8] != ' ' {
		return errors.New("no checksum")
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], line[:8]); err != nil {
		return errors.New("no checksum")
	}
	if crc32.Checksum(line[9:], castagnoli) != binary.BigEndian.Uint32(sum[:]) {
		return errors.New("wrong checksum")
	}
	return json.Unmarshal(line[9:], v)
}

// checkName refuses a name that JSON would not give back as it was.
func checkName(name string) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("%q cannot be saved as the name of a child: it is not valid UTF-8", name)
	}
	return nil
}
