package metrics

import (
	"slices"
	"strings"

	"kita/spec"
)

// Outputs tells of the output files of children. It is asked at every scrape,
// once for each child, so Output should read no directory. An fstat a file is
// little beside what its series take.
type Outputs interface {
	// Output returns the files that the child of a view writes to; their archives
	// are not looked at.
	Output(of spec.View) []spec.OutputFile
	// Used is what all output files and archives take on disk, in bytes, and Budget
	// the most they may; 0 means that there is no limit.
	Used() uint64
	Budget() uint64
}

// stream is an output file of a child, or the sum of those of the same streams:
// there are two when the file of the child names another path than its live
// process has.
type stream struct {
	name                        string
	written, rotations, dropped uint64
	isFaulty                    bool
}

// streamsOf adds up the files, by name.
func streamsOf(files []spec.OutputFile) []stream {
	var streams []stream
	for i := range files {
		f := &files[i]
		name := streamName(f.Streams)
		at := slices.IndexFunc(streams, func(s stream) bool { return s.name == name })
		if at < 0 {
			at = len(streams)
			streams = append(streams, stream{name: name})
		}
		s := &streams[at]
		s.written += f.Written
		s.rotations += f.Rotations
		s.dropped += f.Dropped
		s.isFaulty = s.isFaulty || f.Fault != ""
	}
	slices.SortFunc(streams, func(a, b stream) int { return strings.Compare(a.name, b.name) })
	return streams
}

func streamName(streams []spec.StreamName) string {
	if len(streams) == 1 {
		return string(streams[0])
	}
	var names []string
	for _, s := range streams {
		names = append(names, string(s))
	}
	return strings.Join(names, "+")
}

// outputFamilies are those of output files. A child without any has no series.
func outputFamilies() []*family {
	return []*family{
		ofStreams("written_bytes_total", "Bytes that the child has written to its output files; the stream is out, err, or out+err where both share a file.",
			func(s *stream) uint64 { return s.written }),
		ofStreams("rotations_total", "Archives that were made of the child's output files.", func(s *stream) uint64 { return s.rotations }),
		ofStreams("dropped_lines_total", "Lines that a pump had to leave out, because the disk was too slow or full.", func(s *stream) uint64 { return s.dropped }),
		{"kita_output_fault", gauge, "1 when an output file of the child is missing, cannot be rotated or cannot be written, 0 otherwise.", writeFaults},
	}
}

func ofStreams(name, help string, value func(*stream) uint64) *family {
	return &family{"kita_output_" + name, counter, help, func(p *page, s *reading) {
		for i := range s.children {
			c := &s.children[i]
			for j := range c.streams {
				p.value(float64(value(&c.streams[j])), c.label, `,stream="`, c.streams[j].name, `"`)
			}
		}
	}}
}

func writeFaults(p *page, s *reading) {
	for i := range s.children {
		c := &s.children[i]
		if len(c.streams) > 0 {
			p.value(boolean(slices.ContainsFunc(c.streams, func(s stream) bool { return s.isFaulty })), c.label)
		}
	}
}
