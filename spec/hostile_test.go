package spec

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

var errorLineForm = regexp.MustCompile(`^\S.*:[1-9][0-9]*: \S.*: \S.*$`)

// checkErrors asserts what holds for the error of every file.
func checkErrors(t *testing.T, err error, data []byte) {
	t.Helper()
	errs, ok := errors.AsType[FileErrors](err)
	if !ok || len(errs) == 0 || len(errs) > maxFileErrors+1 {
		t.Fatalf("%.200q: error is %T with %d elements: %v", data, err, len(errs), err)
	}
	lines := 1 + strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(data)), "\n")
	last := 0
	for _, e := range errs {
		if !errorLineForm.MatchString(e.Error()) || strings.Contains(e.Error(), "\n") || len(e.Error()) > 1000 {
			t.Errorf("%.200q: %q is not file:line: key: message", data, e.Error())
		}
		if e.Line < last || e.Line > lines {
			t.Errorf("%.200q: line %d after %d, of %d: %v", data, e.Line, last, lines, e)
		}
		last = e.Line
	}
}

func checkChild(t *testing.T, data []byte) {
	t.Helper()
	c, err := ParseChild("/lp", "/lp/web.yml", data, nil)
	if err != nil {
		if c != nil {
			t.Fatalf("child and error: %v", err)
		}
		checkErrors(t, err, data)
		return
	}
	switch {
	case len(c.Command) == 0 || c.Command[0] == "" || c.Hash == "" || c.Name != "web" || !strings.HasPrefix(c.Dir, "/"):
		t.Fatalf("%q: %+v", data, c)
	case c.Stop.Signal < 1 || c.Stop.Grace < 0 || c.Restart.Backoff.Initial <= 0 || c.Restart.Backoff.Max < c.Restart.Backoff.Initial || !(c.Restart.Backoff.Factor >= 1):
		t.Fatalf("%q: stop %+v, restart %+v", data, c.Stop, c.Restart)
	case c.Repeat != nil && (c.Repeat.Every <= 0 || !c.Repeat.Action.Changes()):
		t.Fatalf("%q: repeat %+v", data, c.Repeat)
	case c.Resources.Memory > math.MaxInt64, c.Resources.Tasks > math.MaxInt64, c.Resources.MilliCPU > mostProcessors*1000:
		t.Fatalf("%q: resources %+v", data, c.Resources)
	}
	for _, s := range []*Stream{c.Stdout, c.Stderr} {
		if s != nil && !isSound(s) {
			t.Fatalf("%q: stream %+v, rotated %+v", data, s, s.Rotate)
		}
	}
	for _, h := range []*Hook{c.Prehook, c.Posthook} {
		if h != nil && (!h.Verb.Changes() || ValidName(h.Child) != nil) {
			t.Fatalf("%q: hook %+v", data, h)
		}
	}
	for _, s := range c.Command {
		if strings.Contains(s, "\x00") {
			t.Fatalf("%q: NUL in %q", data, s)
		}
	}
}

// isSound tells whether a stream has what everybody takes for granted.
func isSound(s *Stream) bool {
	pumped := s.Format != "" || !s.Timestamps && !s.Prefix
	if s.Path == "" || s.Mode != Create && s.Mode != Append || !pumped || (s.OnFull != "") != (s.Format != "") {
		return false
	}
	r := s.Rotate
	return r == nil || r.Size >= leastRotateSize && r.Size <= math.MaxInt64 && r.Keep >= 0 && r.Keep <= mostKept &&
		isPeriod(r.Every) && isPeriod(r.MaxAge) && (r.Compress == Zstd || r.Compress == Gzip || r.Compress == NoCompression)
}

func isPeriod(d Duration) bool { return d == 0 || d >= leastPeriod && d <= longest }

func checkServer(t *testing.T, data []byte) {
	t.Helper()
	s, err := ParseServer("/etc/kita/server.yml", data)
	if err != nil {
		checkErrors(t, err, data)
		return
	}
	if !s.Listen.IsValid() || s.Listen.Port() == 0 || s.Mode != Quiet && s.Mode != Half && s.Mode != Full || s.LoadPaths == nil {
		t.Fatalf("%q: %+v", data, s)
	}
	if s.OnExit != "" && s.OnExit != Leave && s.OnExit != StopChildren || s.ExitWith != "" && ValidName(s.ExitWith) != nil {
		t.Fatalf("%q: on_exit %q, exit_with %q", data, s.OnExit, s.ExitWith)
	}
	for _, r := range s.Access {
		if len(r.Keys) == 0 || len(r.Rights) == 0 || len(r.Children) == 0 {
			t.Fatalf("%q: access %+v", data, r)
		}
	}
}

const goodChild = `# a child
command: ./server --port 80 "a b"
args: [x, "y"]
dir: sub
env: {A: b, "C": 'd'}
env_file: web.env
user: www-data
umask: 022
nice: -5
limits: {nofile: 65536, core: unlimited, as: {soft: 1MB, hard: 1GiB}, memory: 64MiB, cpu: 0.5, tasks: 20}
stop: &s {signal: TERM, grace: 10s}
restart:
  policy: on-failure
  backoff: {initial: 500ms, max: 30s, factor: 2}
  limit: {starts: 5, within: 1m}
  success: [2, TERM]
output:
  - stdout: out.log
    mode: append
    rotate: {size: 10MB, every: 24h, keep: 7, max_age: 30d, compress: gzip}
    format: json
    timestamps: true
    prefix: false
    on_full: block
  - stderr: >-
      err.log
    rotate: off
output_dir: logs
rotate: {keep: 3}
repeat:
  action: restart
  seconds: 5
hooks:
  - prehook: start db
  - posthook: start cleanup
`

const goodServer = `loadpaths: [/srv/children]
mode: half
startup:
  - web
encrypt: on
pub_keys_path: [/srv/keys]
legacy_keys_path: [/srv/old]
access:
  - {keys: [ops], verbs: [admin]}
  - keys: ["ci-*"]
    verbs: &v [read, operate]
    children: [web, "api-[0-9]"]
audit_log: audit.log
listener_addr: ::1
ipv6: true
port: 33889
metrics_addr: "127.0.0.1:9100"
state_dir: state
on_exit: stop
exit_with: web
defaults:
  env: {A: b}
  restart: always
  stop: {grace: 30s}
  output: {format: text, mode: create}
  rotate: {max_age: 0s}
output_dir: /var/log/kita
disk_budget: 10GB
`

// mutated makes a file that is probably wrong out of a good one.
func mutated(rnd *rand.Rand, good string) []byte {
	pieces := []string{"\n", " ", "\t", ":", "- ", "[", "]", "{", "}", "*s", "&s ", "!", "|", ">", "'", `"`, "%", "#", "<<: *s\n",
		"\x00", "\xff", "\u2028", "---\n", "...\n", "? ", "~", "null", "\\", `"\0"`, "!!binary ", "\r", "\ufeff", "@", "`"}
	data := []byte(good)
	for range 1 + rnd.IntN(6) {
		at := rnd.IntN(len(data) + 1)
		switch end := min(at+rnd.IntN(12), len(data)); rnd.IntN(5) {
		case 0:
			data = append(data[:at:at], data[end:]...)
		case 1:
			data = append(data[:end:end], data[at:]...) // doubled
		case 2:
			if at < len(data) {
				data[at] = byte(rnd.IntN(256))
			}
		case 3:
			data = append(data[:at:at], append([]byte(pieces[rnd.IntN(len(pieces))]), data[at:]...)...)
		default:
			data = append(data[:at:at], append([]byte(pieces[rnd.IntN(len(pieces))]), data[end:]...)...)
		}
		if len(data) == 0 {
			break
		}
	}
	return data
}

func TestTenThousandMalformedFiles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(33889, 1))
	for range 5000 {
		checkChild(t, mutated(rnd, goodChild))
		checkServer(t, mutated(rnd, goodServer))
	}
}

func TestGoodFilesAreGood(t *testing.T) {
	if _, err := ParseChild("/lp", "/lp/web.yml", []byte(goodChild), nil); err != nil {
		t.Error(err)
	}
	if _, err := ParseServer("/s.yml", []byte(goodServer)); err != nil {
		t.Error(err)
	}
}

// hostile are files of up to 1 MiB that make a careless reader slow.
func hostile() map[string]string {
	fill := func(s string) string { return strings.Repeat(s, MaxFileSize/len(s)) }
	counted := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < MaxFileSize-100; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'z'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 8), c-1)
	}
	return map[string]string{
		"flow sequences":         fill("["),
		"flow mappings":          fill("{"),
		"flow both":              fill("[{"),
		"flow just legal":        "args: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"flow deep and wide":     strings.Repeat("[", 9000) + fill("a,")[:MaxFileSize-9000],
		"block sequences":        fill("- "),
		"block keys":             fill("? "),
		"indented":               many(1400, "%[1]d:\n"),
		"directives":             counted("%%TAG !a%d! x\n"),
		"anchors":                counted("- &a%d x\n"),
		"aliases":                "args: [&a x" + strings.Repeat(", *a", 200_000) + "]",
		"laughs":                 laughs,
		"alias of a wide map":    "stop: &m {" + many(20_000, "k%d: 1, ") + "}\noutput: [" + strings.Repeat("*m, ", 20_000) + "]\n",
		"alias of a legal map":   "limits: &m {nofile: 1}\noutput: [" + strings.Repeat("*m, ", 40_000) + "]\n",
		"alias within itself":    "command: &a [*a, *a]\nargs: *a\nenv: &e {A: *e}\n",
		"alias of a wide rule":   "defaults: &m {" + many(20_000, "k%d: 1, ") + "}\naccess: [" + strings.Repeat("*m, ", 20_000) + "]\n",
		"alias of a legal rule":  "access: [&r {keys: [a], verbs: [read]}" + strings.Repeat(", *r", 40_000) + "]\n",
		"long patterns":          "access: [{verbs: [read], keys: ['" + strings.Repeat("*a", 100_000) + "', '" + strings.Repeat("[", 100_000) + "']}]",
		"keys":                   counted("k%d: 1\n"),
		"keys within the bounds": many(20_000, "k%d: 1\n"),
		"items":                  "args:\n" + fill("- a\n")[:MaxFileSize-8],
		"comments":               fill("#\n"),
		"comments and items":     fill("- a\n#\n"),
		"blank":                  fill("\n"),
		"carriage returns":       fill("a: b\r"),
		"one word":               "command: " + fill("a")[:MaxFileSize-16],
		"one long key":           fill("a")[:MaxFileSize-16] + ": b",
		"many words":             "command: " + fill("a ")[:MaxFileSize-16],
		"quotes":                 "command: '" + fill(`"" `)[:MaxFileSize-16] + "'",
		"open quote":             `command: "` + fill("a\n")[:60_000],
		"open bracket":           `args: [` + fill("a,\n")[:60_000],
		"documents":              fill("---\n"),
		"tags":                   fill("! "),
		"not UTF-8":              fill("a")[:MaxFileSize-1] + "\xff",
		"lines by other names":   "a: \"" + fill("\u2028")[:MaxFileSize-16],
	}
}

// Hostile files are refused or read in time: on an idle machine, refusing one
// takes less than 50 ms. What is asserted is that none takes many times what an
// honest file of the most items takes on this machine now; careless reading
// takes hundreds of times as long.
func TestHostileFilesAreNotSlow(t *testing.T) {
	honest := []byte("command: x\nargs:\n" + strings.Repeat("- a\n", maxItems/2-10))
	began := time.Now()
	if _, err := ParseChild("/lp", "/lp/web.yml", honest, nil); err != nil {
		t.Fatal(err)
	}
	bound := max(2*time.Second, 50*time.Since(began))
	mayBeRead := map[string]bool{"one word": true, "many words": true, "quotes": true}
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			if len(text) > MaxFileSize {
				t.Fatalf("%d bytes", len(text))
			}
			began := time.Now()
			_, childErr := ParseChild("/lp", "/lp/web.yml", []byte(text), nil)
			child := time.Since(began)
			_, serverErr := ParseServer("/s.yml", []byte(text))
			took := max(child, time.Since(began)-child)
			t.Logf("%v", took)
			if took > bound {
				t.Errorf("took %v, more than %v", took, bound)
			}
			if childErr == nil && !mayBeRead[name] {
				t.Error("accepted as a child")
			}
			for _, err := range []error{childErr, serverErr} {
				if err != nil {
					checkErrors(t, err, []byte(text))
				}
			}
		})
	}
}

func FuzzParseChild(f *testing.F) {
	f.Add([]byte(goodChild))
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		f.Add(mutated(rnd, goodChild))
	}
	f.Fuzz(checkChild)
}

func FuzzParseServer(f *testing.F) {
	f.Add([]byte(goodServer))
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		f.Add(mutated(rnd, goodServer))
	}
	f.Fuzz(checkServer)
}
