package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/spec"
)

func TestStreamText(t *testing.T) {
	day := spec.Duration(24 * time.Hour)
	rotate := func(edit func(*spec.Rotate)) *spec.Rotate {
		r := &spec.Rotate{Size: 100e6, Keep: 5, Compress: spec.Zstd}
		edit(r)
		return r
	}
	tests := []struct {
		want string
		s    *spec.Stream
	}{
		{"that of the server", nil},
		{"a.log (create)", &spec.Stream{Path: "a.log", Mode: spec.Create}},
		{"a.log (append, rotated at 100MB, 5 kept, zstd)",
			&spec.Stream{Path: "a.log", Mode: spec.Append, Rotate: rotate(func(*spec.Rotate) {})}},
		{"a.log (append, rotated at 64KiB and every 1d, 7 kept for 30d, gzip)", &spec.Stream{Path: "a.log", Mode: spec.Append,
			Rotate: rotate(func(r *spec.Rotate) {
				r.Size, r.Every, r.Keep, r.MaxAge, r.Compress = 64<<10, day, 7, 30*day, spec.Gzip
			})}},
		{"a.log (append, rotated at 100MB and every 1.5s, 0 kept, not compressed)", &spec.Stream{Path: "a.log", Mode: spec.Append,
			Rotate: rotate(func(r *spec.Rotate) {
				r.Every, r.Keep, r.Compress = spec.Duration(1500*time.Millisecond), 0, spec.NoCompression
			})}},
		{"a.log (create, text, drop when full)", &spec.Stream{Path: "a.log", Mode: spec.Create, Format: spec.Text, OnFull: spec.Drop}},
		{"a.log (create, json, timestamps, prefix, block when full)", &spec.Stream{Path: "a.log", Mode: spec.Create,
			Format: spec.JSON, Timestamps: true, Prefix: true, OnFull: spec.Block}},
	}
	for _, tt := range tests {
		if got := streamText(tt.s); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestCheckShowsTheRotationThatIsInForce(t *testing.T) {
	started, file := controltest.Child("web"), controltest.Child("web")
	started.Stdout = &spec.Stream{Path: "a.log", Mode: spec.Append}
	started.Stderr = &spec.Stream{Path: "b.log", Mode: spec.Append}
	rotate := &spec.Rotate{Size: 100e6, Keep: 5, Compress: spec.Zstd}
	file.Stdout = &spec.Stream{Path: "a.log", Mode: spec.Create, Rotate: rotate}
	file.Stderr = &spec.Stream{Path: "c.log", Mode: spec.Append, Rotate: rotate}
	p := &program{now: func() time.Time { return controltest.Started }}
	for _, tt := range []struct {
		name string
		file *spec.Child
		want string
	}{
		{"its file has changed", file, "stdout:     a.log (append, rotated at 100MB, 5 kept, zstd)\nstderr:     b.log (append)\n"},
		{"its file is gone", nil, "stdout:     a.log (append)\nstderr:     b.log (append)\n"},
	} {
		v := spec.View{Name: "web", Spec: tt.file, Status: spec.Status{Process: &spec.Process{PID: 7, Config: started}}}
		var b bytes.Buffer
		if err := p.writeDetail(&b, detail{view: v}, ""); err != nil || !strings.Contains(b.String(), tt.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, b.String(), tt.want)
		}
	}
}
