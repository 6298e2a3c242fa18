package controltest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"kita/spec"
)

// file is an output file in memory.
type file struct {
	child   string
	streams []spec.StreamName
	content string
}

// path is where the file would lie.
func (f *file) path() string { return "/srv/log/" + f.source() + ".log" }

func (f *file) source() string {
	var names []string
	for _, stream := range f.streams {
		names = append(names, string(stream))
	}
	return f.child + "/" + strings.Join(names, "+")
}

// Write appends to the output file that the child has for the streams.
func (s *Service) Write(child, text string, streams ...spec.StreamName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &file{child: child, streams: streams}
	at := slices.IndexFunc(s.files, func(have *file) bool { return have.source() == f.source() })
	if at < 0 {
		at = len(s.files)
		s.files = append(s.files, f)
	}
	s.files[at].content += text
	close(s.wrote)
	s.wrote = make(chan struct{})
}

// Asked are the requests Logs was called with, in order.
func (s *Service) Asked() []spec.LogRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Rotated are the names Rotate was called with, in order.
func (s *Service) Rotated() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rotated)
}

// Logs sends what was written, a chunk a file, then what is. Of r it heeds
// Children, Follow, Tail, Stream and After. A line without its end is sent as it
// is.
func (s *Service) Logs(ctx context.Context, r spec.LogRequest, readable func(string) bool, send func(spec.LogChunk) error) error {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	s.mu.Unlock()
	if s.LogsFunc != nil {
		return s.LogsFunc(ctx, r, readable, send)
	}
	sent := map[string]int{}
	for told := false; ; told = true {
		chunks, wrote, err := s.news(r, readable, sent, !told)
		if err != nil {
			return err
		}
		if !told {
			chunks = append(chunks, spec.LogChunk{CaughtUp: true})
		}
		for _, chunk := range chunks {
			if err := send(chunk); err != nil {
				return err
			}
		}
		if !r.Follow {
			return nil
		}
		select {
		case <-wrote:
		case <-ctx.Done():
			return nil
		}
	}
}

// news is what was not sent yet, and what is closed when there may be more.
func (s *Service) news(r spec.LogRequest, readable func(string) bool, sent map[string]int, first bool) ([]spec.LogChunk, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var chunks []spec.LogChunk
	for _, f := range s.files {
		all := slices.Contains(r.Children, spec.All) && readable(f.child)
		if !all && !slices.Contains(r.Children, f.child) || r.Stream != "" && !slices.Contains(f.streams, r.Stream) {
			continue
		}
		from, known := sent[f.source()]
		if after, ok := r.After[f.source()]; !known && ok {
			at, err := strconv.Atoi(after)
			if err != nil || at > len(f.content) {
				return nil, nil, spec.Refuse(spec.BadRequest, "", f.child, "logs: %q is no cursor of %s", after, f.source())
			}
			from = at
		} else if !known && first && r.Tail != nil {
			from = tail(f.content, *r.Tail)
		}
		sent[f.source()] = from
		for len(f.content) > sent[f.source()] {
			chunks = append(chunks, f.chunk(sent, cmp.Or(s.MaxChunk, 64<<10)))
		}
	}
	return chunks, s.wrote, nil
}

// chunk is what comes next of the file, at most so many bytes, and counts it as
// sent.
func (f *file) chunk(sent map[string]int, most int) spec.LogChunk {
	from := sent[f.source()]
	piece := f.content[from:min(len(f.content), from+most)]
	if end := strings.LastIndexByte(piece, '\n') + 1; end > 0 {
		piece = piece[:end]
	}
	sent[f.source()] = from + len(piece)
	chunk := spec.LogChunk{
		Child: f.child, Source: f.source(), Next: strconv.Itoa(from + len(piece)),
		Time: Started, Partial: !strings.HasSuffix(piece, "\n"),
	}
	if len(f.streams) == 1 {
		chunk.Stream = f.streams[0]
	}
	if utf8.ValidString(piece) {
		chunk.Text = piece
	} else {
		chunk.Bytes = []byte(piece)
	}
	return chunk
}

// tail is where the last n lines begin.
func tail(content string, n int) int {
	at := len(content)
	for ; n > 0 && at > 0; n-- {
		at = strings.LastIndexByte(content[:at-1], '\n') + 1
	}
	return at
}

// Output shows the files that Write has made and those of OutputFiles.
func (s *Service) Output(name string) ([]spec.OutputFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.children[name] == nil {
		return nil, noChild(name)
	}
	files := slices.Clone(s.OutputFiles[name])
	for _, f := range s.files {
		if f.child == name {
			size := uint64(len(f.content))
			files = append(files, spec.OutputFile{Streams: f.streams, Path: f.path(), Size: size, Written: size})
		}
	}
	return files, nil
}

// Rotate makes an archive of each file that Write has made.
func (s *Service) Rotate(ctx context.Context, name string) ([]spec.Archive, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotated = append(s.rotated, name)
	if s.RotateFunc != nil {
		return s.RotateFunc(ctx, name)
	}
	if name != spec.All && s.children[name] == nil {
		return nil, noChild(name)
	}
	var archives []spec.Archive
	for _, f := range s.files {
		if name == spec.All || f.child == name {
			size := uint64(len(f.content))
			archives = append(archives, spec.Archive{Path: fmt.Sprintf("%s.1", f.path()), Size: size, Bytes: size, At: Started})
		}
	}
	return archives, nil
}

func noChild(name string) error {
	return spec.Refuse(spec.NotFound, "", name, "there is no child %q: no file of that name is in the load paths", name)
}
