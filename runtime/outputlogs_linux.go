package runtime

import (
	"context"
	"errors"
	"slices"
	"time"

	"kita/runtime/logs"
	"kita/runtime/output"
	"kita/runtime/pump"
	"kita/spec"
)

const (
	// lastLines is how many lines of a run that failed are told, and lastBytes
	// how much of its output is looked at for them.
	lastLines = 20
	lastBytes = 64 << 10
	// lastPatience is how long a pump, and then a disk, may take for them.
	lastPatience = time.Second
)

// source is an output file as what `kita logs` shows.
type source struct{ file *output.File }

var _ logs.Source = source{}

func (s source) Bounds() (oldest, end uint64)          { return s.file.Bounds() }
func (s source) PositionAt(t time.Time) uint64         { return s.file.PositionAt(t) }
func (s source) TimeOf(pos uint64) time.Time           { return s.file.TimeOf(pos) }
func (s source) Subscribe(wake func()) (cancel func()) { return s.file.Subscribe(wake) }
func (s source) Identity() string                      { return s.file.Path() }

func (s source) Segments() []logs.Segment {
	var segments []logs.Segment
	for _, part := range s.file.Segments() {
		segments = append(segments, logs.Segment{Start: part.Start, End: part.End})
	}
	return segments
}

func (s source) Open(from uint64) (logs.Reader, error) {
	r, err := s.file.Open(from)
	if err != nil {
		return nil, err
	}
	return sourceReader{r}, nil
}

// sourceReader tells of a loss as package logs does.
type sourceReader struct{ *output.Reader }

func (r sourceReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	var lost *output.LostError
	if errors.As(err, &lost) {
		err = &logs.LostError{From: lost.From, To: lost.To}
	}
	return n, err
}

// Logs are the output files of a child, to be read: those of its live runs, else
// those that c says; c may be nil.
func (h *Host) Logs(child string, c *spec.Child) []logs.Named {
	if h.outputs.files == nil {
		return nil
	}
	var all []logs.Named
	for _, f := range h.outputs.files.Files(child, c) {
		all = append(all, namedFile(child, c, f))
	}
	return all
}

// namedFile is an output file of a child to be read; c may be nil.
func namedFile(child string, c *spec.Child, f output.FileOf) logs.Named {
	n := logs.Named{Child: child, Streams: f.Streams, Source: source{f.File}}
	if stream := firstStream(c, f.Streams); stream != nil {
		n.Format, n.Timestamps, n.Prefix = stream.Format, stream.Timestamps, stream.Prefix
	}
	return n
}

func firstStream(c *spec.Child, names []spec.StreamName) *spec.Stream {
	if c == nil || len(names) == 0 {
		return nil
	}
	return c.Stream(names[0])
}

// Outputs are the same files, to be shown.
func (h *Host) Outputs(child string, c *spec.Child) []spec.OutputFile {
	if h.outputs.files == nil {
		return nil
	}
	files := h.outputs.files.Shown(child, c)
	h.outputs.addPumps(child, files)
	return files
}

// Why a child has nothing to rotate.
var (
	ErrNoFile     = output.ErrNoFile
	ErrNotRotated = output.ErrNotRotated
)

// Rotate makes archives now of all whole lines in those output files of a child
// that are under rotation. Where none is, the error is ErrNotRotated or ErrNoFile.
func (h *Host) Rotate(ctx context.Context, child string, c *spec.Child) ([]spec.Archive, error) {
	if h.outputs.files == nil {
		return nil, ErrNotRotated
	}
	return h.outputs.files.Rotate(ctx, child, c)
}

// OutputUsed is how many bytes all rotated files and archives take.
func (h *Host) OutputUsed() uint64 {
	if h.outputs.files == nil {
		return 0
	}
	return h.outputs.files.Used()
}

// addPumps adds what the pump says about the files of a child.
func (s *outputs) addPumps(child string, files []spec.OutputFile) {
	if s.pump == nil {
		return
	}
	dropped, stats := s.pumpStats(child)
	for i := range files {
		for _, name := range files[i].Streams {
			files[i].Dropped += dropped[name]
			for _, one := range stats[name] {
				files[i].Dropped += one.Dropped
				if files[i].Fault == "" && one.Fault != "" {
					files[i].Fault = "write " + files[i].Path + ": " + one.Fault
				}
			}
		}
	}
}

// pumpStats returns how many lines were left out of the streams of a child that
// have ended, and what the pump says of the others.
func (s *outputs) pumpStats(child string) (dropped map[spec.StreamName]uint64, stats map[spec.StreamName][]pump.Stats) {
	for range 3 {
		s.mu.Lock()
		keys := slices.Clone(s.pumped[child])
		dropped = map[spec.StreamName]uint64{}
		for _, name := range streamNames {
			dropped[name] = s.dropped[droppedFrom{child, name}]
		}
		s.mu.Unlock()
		stats = map[spec.StreamName][]pump.Stats{}
		all := true
		for _, k := range keys {
			one, known := s.pump.StatsOf(k)
			stats[k.Stream] = append(stats[k.Stream], one)
			all = all && known
		}
		if all {
			break // else one has ended meanwhile, or the pump is not there
		}
	}
	return dropped, stats
}

// tellLast tells the sink the last lines of a run that has failed.
func (h *Host) tellLast(p *process, exit spec.Exit) {
	if exit.Known && exit.Signal == 0 && exit.Code == 0 {
		return
	}
	done := make(chan spec.LastLines, 1)
	ctx, cancel := context.WithTimeout(context.Background(), lastPatience)
	defer cancel()
	if !h.outputs.lastOf(ctx, run{p.child, p.id.Incarnation}, func(l spec.LastLines) { done <- l }) {
		return
	}
	timer := time.NewTimer(2 * lastPatience)
	defer timer.Stop()
	select {
	case last := <-done:
		if len(last.Lines) > 0 {
			h.sink.Wrote(p.child, last)
		}
	case <-timer.C:
	case <-p.ending():
	}
}

// lastOf has found called with the last lines of a run: of its stderr, or of
// stdout if there is nothing in that; of both where nothing tells them apart.
// False: it never will be.
func (s *outputs) lastOf(ctx context.Context, r run, found func(spec.LastLines)) bool {
	s.mu.Lock()
	w := s.live[r]
	if w == nil || s.files == nil {
		s.mu.Unlock()
		return false
	}
	c := w.child
	s.mu.Unlock()
	for _, o := range w.outs {
		for name := range o.FIFOs {
			s.pump.Drain(ctx, r.key(name))
		}
	}
	return s.files.Beside(r.child, r.incarnation, func(files []output.FileOf) {
		found(lastIn(r, c, w.outs, files))
	})
}

// lastIn reads them.
func lastIn(r run, c *spec.Child, outs []spec.Output, files []output.FileOf) spec.LastLines {
	for _, name := range []spec.StreamName{spec.Err, spec.Out} {
		o := slices.IndexFunc(outs, func(o spec.Output) bool { return slices.Contains(o.Streams, name) })
		f := slices.IndexFunc(files, func(f output.FileOf) bool { return slices.Contains(f.Streams, name) })
		if o < 0 || f < 0 {
			continue
		}
		n := namedFile(r.child, c, files[f])
		if len(n.Streams) > 1 && !n.Prefix {
			name = ""
		}
		// What cannot be read is not told: the child's end is news without it.
		lines, _ := logs.Tail(n, name, lastLines, outs[o].Start, lastBytes)
		if len(lines) > 0 {
			return spec.LastLines{Incarnation: r.incarnation, Stream: name, Lines: lines}
		}
	}
	return spec.LastLines{}
}
