package spec

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const anHour = Duration(time.Hour)

// builtIn is what holds where nothing is said about rotation, changed by edits.
func builtIn(edits ...func(*Rotate)) *Rotate {
	r := &Rotate{Size: 100_000_000, Keep: 5, Compress: Zstd}
	for _, edit := range edits {
		edit(r)
	}
	return r
}

func keep(n int) func(*Rotate) { return func(r *Rotate) { r.Keep = n } }

func size(n uint64) func(*Rotate) { return func(r *Rotate) { r.Size = n } }

// parsedUnder parses a child of /lp/web.yml under the server.yml of /etc/kita.
func parsedUnder(t *testing.T, server, child string) *Child {
	t.Helper()
	s, err := ParseServer("/etc/kita/server.yml", []byte(server))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseChild("/lp", "/lp/web.yml", []byte("command: x\n"+child), s.Defaults)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOutput(t *testing.T) {
	auto := func(edits ...func(*Stream)) *Stream {
		s := &Stream{Path: "/logs/web.log", Mode: Append, Rotate: builtIn()}
		for _, edit := range edits {
			edit(s)
		}
		return s
	}
	text := func(s *Stream) { s.Format, s.OnFull = Text, Drop }
	json := func(s *Stream) { s.Format, s.OnFull, s.Timestamps, s.Prefix = JSON, Drop, true, true }
	plain := func(s *Stream) { s.Rotate = nil }
	file := func(path string, edits ...func(*Stream)) *Stream {
		s := &Stream{Path: path, Mode: Create}
		for _, edit := range edits {
			edit(s)
		}
		return s
	}
	rotated := func(r *Rotate) func(*Stream) { return func(s *Stream) { s.Rotate = r } }
	tests := []struct {
		name, server, child string
		out, err            *Stream
	}{
		{"nothing said", "", "", nil, nil},
		{"auto here", "", "output: auto\noutput_dir: /logs", auto(), auto()},
		{"auto before its directory is known", "output_dir: /logs", "output: auto", auto(), auto()},
		{"auto because of the directory of the server", "output_dir: /logs", "", auto(), auto()},
		{"auto because of the directory of defaults", "defaults: {output_dir: /logs}", "", auto(), auto()},
		{"auto because of its own directory", "", "output_dir: /logs", auto(), auto()},
		{"auto by default", "defaults: {output: auto}", "output_dir: /logs", auto(), auto()},
		{"the child's directory before that of defaults", "output_dir: /c\ndefaults: {output_dir: /b}", "output_dir: /logs", auto(), auto()},
		{"that of defaults before that of the server", "output_dir: /c\ndefaults: {output_dir: /logs}", "", auto(), auto()},
		{"the server's directory is relative to its file", "output_dir: ../../logs", "", auto(), auto()},
		{"that of defaults is relative to the server's file", "defaults: {output_dir: ../../logs}", "", auto(), auto()},
		{"the child's is relative to its own", "", "output_dir: ../logs", auto(), auto()},
		{"the server's own in spite of a directory", "output_dir: /logs", "output: []", nil, nil},
		{"files in spite of a directory", "output_dir: /logs", "output: [{stdout: a}]", file("a"), nil},
		{"files by default in spite of a directory", "output_dir: /logs\ndefaults: {output: [{stdout: a}]}", "", file("a"), nil},
		{"auto in spite of files by default", "output_dir: /logs\ndefaults: {output: [{stdout: a}]}", "output: auto", auto(), auto()},
		{"auto with options", "output_dir: /logs", "output: {mode: create, format: json, rotate: {keep: 1}}",
			auto(json, func(s *Stream) { s.Mode, s.Rotate = Create, builtIn(keep(1)) }),
			auto(json, func(s *Stream) { s.Mode, s.Rotate = Create, builtIn(keep(1)) })},
		{"auto with no options", "output_dir: /logs", "output: {}", auto(), auto()},
		{"auto with options by default", "output_dir: /logs\ndefaults: {output: {format: text}}", "", auto(text), auto(text)},
		{"the child's auto replaces that of defaults", "output_dir: /logs\ndefaults: {output: {format: text}}", "output: auto", auto(), auto()},
		{"auto off", "output_dir: /logs", "rotate: off", auto(plain), auto(plain)},
		{"auto off for the streams", "output_dir: /logs", "output: {rotate: off}\nrotate: {keep: 2}", auto(plain), auto(plain)},
		{"auto off by default", "output_dir: /logs\ndefaults: {rotate: off}", "", auto(plain), auto(plain)},
		{"auto on in spite of that", "output_dir: /logs\ndefaults: {rotate: off}", "rotate: {}", auto(), auto()},

		{"files are not rotated", "", "output: [{stdout: a}, {stderr: b, mode: append}]", file("a"), file("b", func(s *Stream) { s.Mode = Append })},
		{"both rotated", "", "rotate: {}\noutput: [{stdout: a}, {stderr: b}]", file("a", rotated(builtIn())), file("b", rotated(builtIn()))},
		{"both rotated by default", "defaults: {rotate: {keep: 0}}", "output: [{stdout: a}, {stderr: b}]",
			file("a", rotated(builtIn(keep(0)))), file("b", rotated(builtIn(keep(0))))},
		{"one rotated", "", "output: [{stdout: a, rotate: {size: 4KiB}}, {stderr: b}]", file("a", rotated(builtIn(size(4096)))), file("b")},
		{"one not rotated", "", "rotate: {size: 10MB}\noutput: [{stdout: a}, {stderr: b, rotate: off}]", file("a", rotated(builtIn(size(10e6)))), file("b")},
		{"all about it", "", "rotate: {size: 5MB, every: 1d, keep: 7, max_age: 30d, compress: none}\noutput: [{stdout: a}]",
			file("a", rotated(&Rotate{5e6, 24 * anHour, 7, 720 * anHour, NoCompression})), nil},
		{"stream over child over defaults", "defaults: {rotate: {size: 1MB, every: 1h, keep: 1, max_age: 1h, compress: gzip}}",
			"output: [{stdout: a, rotate: {keep: 3, max_age: 3h}}, {stderr: b}]\nrotate: {every: 2h, keep: 2}",
			file("a", rotated(&Rotate{1e6, 2 * anHour, 3, 3 * anHour, Gzip})), file("b", rotated(&Rotate{1e6, 2 * anHour, 2, anHour, Gzip}))},
		{"taken back", "defaults: {rotate: {every: 1h, max_age: 1h}}", "rotate: {every: 0s, max_age: 0s}\noutput: [{stdout: a}]", file("a", rotated(builtIn())), nil},
		{"off forgets what stands behind", "defaults: {rotate: {keep: 9}}", "rotate: off\noutput: [{stdout: a, rotate: {size: 1MB}}, {stderr: b}]",
			file("a", rotated(builtIn(size(1e6)))), file("b")},
		{"on again forgets it, too", "defaults: {rotate: off}", "rotate: {keep: 9}\noutput: [{stdout: a}]", file("a", rotated(builtIn(keep(9)))), nil},
		{"devices are not rotated", "defaults: {rotate: {}}", "output: [{stdout: /dev/null}, {stderr: /dev/shm/../stderr}]",
			file("/dev/null"), file("/dev/shm/../stderr")},
		{"what only looks like one is", "defaults: {rotate: {}}", "output: [{stdout: /dev/shm/a}, {stderr: /devices/b}]",
			file("/dev/shm/a", rotated(builtIn())), file("/devices/b", rotated(builtIn()))},
		{"a device that is said not to be", "", "output: [{stdout: /dev/null, rotate: off}]", file("/dev/null"), nil},
		{"one file, rotated once", "", "output: [{stdout: a, rotate: {keep: 1}}, {stderr: ./a, rotate: {keep: 1}}]",
			file("a", rotated(builtIn(keep(1)))), file("./a", rotated(builtIn(keep(1))))},

		{"text", "", "output: [{stdout: a, format: text}]", file("a", text), nil},
		{"JSON", "", "output: [{stdout: a, format: json}]", file("a", json), nil},
		{"JSON without the rest", "", "output: [{stdout: a, format: json, timestamps: false, prefix: false}]",
			file("a", json, func(s *Stream) { s.Timestamps, s.Prefix = false, false }), nil},
		{"time stamps", "", "output: [{stdout: a, timestamps: true}]", file("a", text, func(s *Stream) { s.Timestamps = true }), nil},
		{"prefix", "", "output: [{stdout: a, prefix: true, timestamps: false}]", file("a", text, func(s *Stream) { s.Prefix = true }), nil},
		{"no time stamps need no pump", "", "output: [{stdout: a, timestamps: false}]", file("a"), nil},
		{"blocked", "", "output: [{stderr: b, on_full: block, prefix: true}]", nil, file("b", text, func(s *Stream) { s.Prefix, s.OnFull = true, Block })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parsedUnder(t, tt.server, tt.child)
			for _, stream := range []struct {
				name      string
				got, want *Stream
			}{{"stdout", c.Stdout, tt.out}, {"stderr", c.Stderr, tt.err}} {
				if got, want := flat(stream.got), flat(stream.want); got != want {
					t.Errorf("%s is %+v, want %+v", stream.name, got, want)
				}
			}
		})
	}
}

// flatStream is a Stream without pointers.
type flatStream struct {
	there, rotated bool
	stream         Stream
	rotate         Rotate
}

func flat(s *Stream) flatStream {
	if s == nil {
		return flatStream{}
	}
	f := flatStream{there: true, rotated: s.Rotate != nil, stream: *s, rotate: or(s.Rotate, Rotate{})}
	f.stream.Rotate = nil
	return f
}

func TestOutputErrors(t *testing.T) {
	const rotates = "2: output.rotate."
	tests := []struct{ name, text, want string }{
		{"auto without a directory", "nice: 1\noutput: auto", "3: output: auto needs a directory, write output_dir: /var/log/kita here or in server.yml"},
		{"options without a directory", "output: {format: json}", "2: output: auto needs a directory, write output_dir: /var/log/kita here or in server.yml"},
		{"Auto", "output: Auto\noutput_dir: /l", `2: output: "Auto" is not known, write auto or output: [{stdout: out.log, mode: append}]`},
		{"nothing", "output:", "2: output: has no value, write output: [{stdout: out.log, mode: append}] or leave the key out"},
		{"an unknown option", "output: {fromat: json}", "2: output.fromat: unknown key, did you mean format?"},
		{"directories", "output_dir: [/a]", "2: output_dir: is a list where text belongs, write output_dir: /var/log/kita"},
		{"format", "output: [{stdout: a, format: xml}]", `2: output.format: "xml" is not known, write text or json`},
		{"timestamps", "output: [{stdout: a, timestamps: yes}]", `2: output.timestamps: "yes" is not known, write true or false`},
		{"prefix", "output: [{stdout: a, prefix: web}]", `2: output.prefix: "web" is not known, write true or false`},
		{"on_full", "output: [{stdout: a, format: text, on_full: wait}]", `2: output.on_full: "wait" is not known, write drop or block`},
		{"on_full without a pump", "output: [{stdout: a, on_full: block}]", "2: output.on_full: is for pumped output, write format: text beside it or leave it out"},
		{"on_full of auto without a pump", "output: {timestamps: false, on_full: drop}", "2: output.on_full: is for pumped output, write format: text beside it or leave it out"},
		{"a rotated device", "output: [{stdout: /dev/stdout, rotate: {}}]", "2: output.rotate: /dev/stdout is no file to rotate, leave rotate out"},
		{"one file, rotated in two ways", "output:\n - {stdout: a, rotate: {keep: 1}}\n - {stderr: ./a}",
			"2: output: stdout and stderr are one file, write the same rotate for both, or one for the whole child"},

		{"rotate on", "rotate: on", `2: rotate: "on" is not known, write off or rotate: {size: 100MB, keep: 5}`},
		{"rotate a size", "rotate: 100MB", `2: rotate: "100MB" is not known, write off or rotate: {size: 100MB, keep: 5}`},
		{"rotate a list", "rotate: [100MB]", "2: rotate: is a list where text or a mapping belongs, write rotate: {size: 100MB, keep: 5}"},
		{"rotate of an unknown key", "rotate: {count: 1}", "2: rotate.count: unknown key, write one of size, every, keep, max_age, compress"},
		{"a size without a unit", "output: [{stdout: a, rotate: {size: 100}}]", rotates + `size: "100" is too small, write at least 4096 bytes, as in size: 100MB`},
		{"a vague size", "rotate: {size: 100M}", `2: rotate.size: "100M" is no size, write a number and kB, MB, MiB or GB, as in size: 100MB`},
		{"a negative size", "rotate: {size: -1MB}", `2: rotate.size: "-1MB" is no size, write a number and kB, MB, MiB or GB, as in size: 100MB`},
		{"a size of everything", "rotate: {size: 99999999TiB}", `2: rotate.size: "99999999TiB" is too large, write size: 100MB`},
		{"every without a unit", "rotate: {every: 24}", `2: rotate.every: "24" has no unit, write 24s`},
		{"every too short", "rotate: {every: 999ms}", "2: rotate.every: 999ms is too short, write every: 24h or 0s for none"},
		{"every too long", "rotate: {every: 3651d}", `2: rotate.every: "3651d" is longer than ten years, write less`},
		{"max_age negative", "rotate: {max_age: -1h}", `2: rotate.max_age: "-1h" is negative, write max_age: 30d`},
		{"max_age too short", "rotate: {max_age: 1ns}", "2: rotate.max_age: 1ns is too short, write max_age: 30d or 0s for none"},
		{"keep negative", "rotate: {keep: -1}", `2: rotate.keep: "-1" is no whole number from 0 to 10000, write keep: 5`},
		{"keep too many", "rotate: {keep: 10001}", `2: rotate.keep: "10001" is no whole number from 0 to 10000, write keep: 5`},
		{"compress", "rotate: {compress: xz}", `2: rotate.compress: "xz" is not known, write zstd, gzip or none`},
		{"compress off", "rotate: {compress: off}", `2: rotate.compress: "off" is not known, write zstd, gzip or none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantChildErrors(t, "command: ./run\n"+tt.text, tt.want)
		})
	}
}

func TestRotationAndMetricsChangeTheCatalogueAndNotTheHash(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yml")
	const output = "command: x\noutput: [{stdout: a}]\n"
	write(t, file, output+"rotate: {keep: 1}\n")
	c := NewCatalogue()
	defaults := func(server string) *Defaults {
		s, err := ParseServer("/etc/kita/server.yml", []byte(server))
		if err != nil {
			t.Fatal(err)
		}
		return s.Defaults
	}
	c.SetPaths([]string{dir}, nil)
	c.Refresh()
	first, _ := c.Child("web")
	changed := func(what string, want bool) *Child {
		t.Helper()
		names, _ := c.Refresh()
		if got := slices.Contains(names, "web"); got != want {
			t.Errorf("%s: changed %v, want %v", what, got, want)
		}
		web, ok := c.Child("web")
		if !ok || web.Hash != first.Hash {
			t.Errorf("%s: the hash is another", what)
		}
		return web
	}
	replace := func(text string) {
		t.Helper()
		write(t, file+".new", text)
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	replace(output + "rotate: {keep: 2}\n")
	if web := changed("another rotation", true); web.Stdout.Rotate.Keep != 2 {
		t.Errorf("rotation is %+v", web.Stdout.Rotate)
	}
	replace(output + "rotate: {keep: 2} # two\n")
	changed("a comment", false)
	c.SetPaths([]string{dir}, defaults("defaults: {rotate: {size: 1MB}}"))
	if web := changed("another default of rotation", true); web.Stdout.Rotate.Size != 1e6 {
		t.Errorf("rotation is %+v", web.Stdout.Rotate)
	}
	c.SetPaths([]string{dir}, defaults("defaults: {rotate: {size: 1000kB}}"))
	changed("the same in other words", false)
	replace(output + "rotate: {keep: 2}\nmetrics: {port: 9100}\n")
	if web := changed("metrics", true); *web.Metrics != (Metrics{9100, "/metrics"}) {
		t.Errorf("metrics are %+v", web.Metrics)
	}
	replace(output)
	c.SetPaths([]string{dir}, nil)
	if web := changed("no rotation", true); web.Stdout.Rotate != nil {
		t.Errorf("rotation is %+v", web.Stdout.Rotate)
	}
}

func TestDefaultsAreToldApart(t *testing.T) {
	parsed := func(text string) *Defaults {
		t.Helper()
		s, err := ParseServer("/etc/kita/server.yml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s.Defaults
	}
	tests := []struct {
		name, a, b string
		same       bool
	}{
		{"none", "", "mode: full", true},
		{"none and some", "", "defaults: {}", false},
		{"lines", "defaults: {output: auto}", "\n\ndefaults:\n  output: auto", true},
		{"directory", "output_dir: /a", "output_dir: /b", false},
		{"directory in another place", "output_dir: /a", "defaults: {output_dir: ../../a}", true},
		{"rotation", "defaults: {rotate: {keep: 1}}", "defaults: {rotate: {keep: 2}}", false},
		{"no rotation", "defaults: {}", "defaults: {rotate: off}", false},
		{"output", "defaults: {output: [{stdout: a}]}", "defaults: {output: [{stdout: a, format: text}]}", false},
		{"options of auto", "defaults: {output: auto}", "defaults: {output: {on_full: drop, format: text}}", false},
		{"environment", "defaults: {env: {A: b}}", "defaults: {env: {A: c}}", false},
	}
	for _, tt := range tests {
		if got := parsed(tt.a).same(parsed(tt.b)); got != tt.same {
			t.Errorf("%s: same is %v", tt.name, got)
		}
	}
}
