package exitlog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// Name is the file's name in the run directory; oldName that of the one before.
const (
	Name    = "exits"
	oldName = Name + ".1"
)

// MaxSize is the size in bytes that the file does not exceed.
const MaxSize = 4 << 20

// Record is the end of one process.
type Record struct {
	// PID, StartTicks and Boot are who it was: its number, field 22 of its
	// /proc/PID/stat and the boot id.
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"start"`
	Boot       string `json:"boot"`
	// Child and Incarnation are empty where they are not known.
	Child       string `json:"child,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	// Status is the wait status of wait(2).
	Status uint32 `json:"status"`
	// At is when the end was seen.
	At time.Time `json:"at"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumLength is the length of the checksum and the blank in front of a record.
const sumLength = 9

// appendLine appends r to line as a line.
func appendLine(line []byte, r Record) []byte {
	from := len(line)
	line = append(line, "00000000 "...)
	line = appendJSON(line, r)
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(line[from+sumLength:], castagnoli))
	hex.Encode(line[from:], sum[:])
	return append(line, '\n')
}

// appendJSON appends r as encoding/json encodes it, for which it takes a tenth of
// the time.
func appendJSON(b []byte, r Record) []byte {
	b = strconv.AppendInt(append(b, `{"pid":`...), int64(r.PID), 10)
	b = strconv.AppendUint(append(b, `,"start":`...), r.StartTicks, 10)
	b = appendText(append(b, `,"boot":`...), r.Boot)
	if r.Child != "" {
		b = appendText(append(b, `,"child":`...), r.Child)
	}
	if r.Incarnation != 0 {
		b = strconv.AppendUint(append(b, `,"incarnation":`...), r.Incarnation, 10)
	}
	b = strconv.AppendUint(append(b, `,"status":`...), uint64(r.Status), 10)
	b = r.At.AppendFormat(append(b, `,"at":"`...), time.RFC3339Nano)
	return append(b, `"}`...)
}

// appendText appends s as a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			// A string can always be encoded.
			text, _ := json.Marshal(s)
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// decode is the reverse of appendLine, for a line without its end.
func decode(line []byte) (r Record, err error) {
	if len(line) < sumLength || line[sumLength-1] != ' ' {
		return r, errors.New("no checksum")
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], line[:sumLength-1]); err != nil {
		return r, errors.New("no checksum")
	}
	if crc32.Checksum(line[sumLength:], castagnoli) != binary.BigEndian.Uint32(sum[:]) {
		return r, errors.New("wrong checksum")
	}
	return r, json.Unmarshal(line[sumLength:], &r)
}

// decodeAll calls found with each whole record in data, in order, and returns
// the length of the complete lines in it. Damaged lines are passed over.
func decodeAll(data []byte, found func(Record)) (complete int) {
	for {
		end := bytes.IndexByte(data[complete:], '\n')
		if end < 0 {
			return complete
		}
		if r, err := decode(data[complete : complete+end]); err == nil {
			found(r)
		}
		complete += end + 1
	}
}
