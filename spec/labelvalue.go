package spec

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// LabelValue is a name as Prometheus accepts it: valid UTF-8. Other bytes are
// written as \xNN.
func LabelValue(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, name[i])
		} else {
			b.WriteString(name[i : i+size])
		}
		i += size
	}
	return b.String()
}
