package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kita/spec"
)

// streamText is where a stream goes, how it is written and when it is rotated.
func streamText(s *spec.Stream) string {
	if s == nil {
		return "that of the server"
	}
	how := slices.Concat([]string{string(s.Mode)}, formatWords(s), rotateWords(s.Rotate))
	return fmt.Sprintf("%s (%s)", s.Path, strings.Join(how, ", "))
}

// rotatedAs is the stream of a process with the rotation that its file has now:
// that is in force without a restart.
func rotatedAs(s, file *spec.Stream) *spec.Stream {
	if s == nil || file == nil || s.Path != file.Path {
		return s
	}
	now := *s
	now.Rotate = file.Rotate
	return &now
}

// formatWords are what a pump does with the lines of a stream.
func formatWords(s *spec.Stream) []string {
	if s.Format == "" {
		return nil
	}
	words := []string{string(s.Format)}
	if s.Timestamps {
		words = append(words, "timestamps")
	}
	if s.Prefix {
		words = append(words, "prefix")
	}
	return append(words, string(s.OnFull)+" when full")
}

// rotateWords are those of a stream that is rotated, else none.
func rotateWords(r *spec.Rotate) []string {
	if r == nil {
		return nil
	}
	when := "rotated at " + bytesText(r.Size)
	if r.Every > 0 {
		when += " and every " + lengthText(r.Every.D())
	}
	kept := fmt.Sprintf("%d kept", r.Keep)
	if r.MaxAge > 0 {
		kept += " for " + lengthText(r.MaxAge.D())
	}
	packed := string(r.Compress)
	if r.Compress == spec.NoCompression {
		packed = "not compressed"
	}
	return []string{when, kept, packed}
}

// lengthText is a length of time in the largest unit that loses nothing.
func lengthText(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d%unit.length == 0 {
			return fmt.Sprintf("%d%s", d/unit.length, unit.name)
		}
	}
	return d.String()
}
