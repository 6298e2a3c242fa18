package logs

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kita/spec"
)

// cursor is a place in a source, as a client keeps it.
type cursor struct {
	// pos is the position of what is to be taken next.
	pos   uint64
	place place
	// at is when the cursor was made, to the millisecond: the place to go on at
	// where positions have started anew.
	at time.Time
	// identity is identityOf the source.
	identity string
}

// identityOf is a source's Identity in a form that is short, since a client may
// have to send those of ten thousand sources, and that tells nothing else.
func identityOf(s Source) string {
	sum := sha256.Sum256([]byte(s.Identity()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// place is where in a line a cursor is.
type place string

const (
	atLine   place = "l" // where one begins
	inShown  place = "s" // within one of which the beginning was sent
	inHidden place = "h" // within one that is not sent
)

func placeOf(inLine, shown bool) place {
	switch {
	case !inLine:
		return atLine
	case shown:
		return inShown
	}
	return inHidden
}

// String is the cursor as spec.LogChunk.Next: "POS,PLACE,MILLISECONDS,IDENTITY".
func (c cursor) String() string {
	return fmt.Sprintf("%d,%s,%d,%s", c.pos, c.place, c.at.UnixMilli(), c.identity)
}

func parseCursor(text string) (cursor, error) {
	bad := func() (cursor, error) {
		return cursor{}, fmt.Errorf("%.100q is no place in an output, give what the next of a chunk was", text)
	}
	fields := strings.SplitN(text, ",", 4)
	if len(fields) != 4 {
		return bad()
	}
	where := place(fields[1])
	switch where {
	case atLine, inShown, inHidden:
	default:
		return bad()
	}
	pos, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return bad()
	}
	millis, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return bad()
	}
	return cursor{pos: pos, place: where, at: time.UnixMilli(millis), identity: fields[3]}, nil
}

// parseAfter reads what req.After says, and the time of its latest cursor.
func parseAfter(req spec.LogRequest) (after map[string]cursor, latest time.Time, err error) {
	after = make(map[string]cursor, len(req.After))
	for name, text := range req.After {
		c, err := parseCursor(text)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("after: %.300q: %w", name, err)
		}
		if c.at.After(latest) {
			latest = c.at
		}
		after[name] = c
	}
	return after, latest, nil
}

// CheckAfter tells what is wrong with req.After; nil if nothing is. Send finds
// the same, but then the answer has begun.
func CheckAfter(req spec.LogRequest) error {
	_, _, err := parseAfter(req)
	return err
}
