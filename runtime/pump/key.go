package pump

import (
	"fmt"

	"kita/spec"
)

// Key names one output stream of one run.
type Key struct {
	Child       string          `json:"child"`
	Incarnation uint64          `json:"incarnation"`
	Stream      spec.StreamName `json:"stream"`
}

func (k Key) String() string { return fmt.Sprintf("%s.%d.%s", k.Child, k.Incarnation, k.Stream) }

// Stats are what became of a stream. The counts never go down.
type Stats struct {
	// Lines and Bytes were written to the file; Bytes count what the pump put
	// around the lines too.
	Lines uint64 `json:"lines,omitempty"`
	Bytes uint64 `json:"bytes,omitempty"`
	// Dropped are the lines that were left out.
	Dropped uint64 `json:"dropped,omitempty"`
	// Fault is why nothing can be written now, in one line; empty when it can.
	Fault string `json:"fault,omitempty"`
}
