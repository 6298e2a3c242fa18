package e2e

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdTerminal is a real terminal, of a tmux that belongs to the script alone:
//
//	terminal start COLUMNS ROWS [NAME=VALUE...]  a shell in it
//	terminal type TEXT      and Enter
//	terminal keys KEY...    as tmux calls them
//	terminal resize COLUMNS ROWS
//	[!] terminal shows REGEXP  waits until it does, or does not, within patience
//	terminal styled REGEXP     the same, with the escape sequences of the styles
//	terminal cmp FILE       waits until it shows the text of a file, numbers that
//	                        differ from run to run as N
//
// The tmux ends with the script.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	const use = "terminal start|type|keys|resize|shows|styled|cmp ..."
	usage(ts, len(args) >= 2, use)
	verb, rest := args[0], args[1:]
	term := terminal{ts.MkAbs("tmux"), ts}
	if neg && verb != "shows" {
		noNeg(ts, neg, "terminal "+verb)
	}
	switch verb {
	case "start":
		usage(ts, len(rest) >= 2, use)
		env := rest[2:]
		for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ", "KITA_SOCKET", "ADDR", "KITA_E2E"} {
			env = append(env, name+"="+ts.Getenv(name))
		}
		ts.Defer(term.end)
		term.start(rest[0], rest[1], ts.MkAbs("."), env)
	case "type":
		term.enter(rest[0])
	case "keys":
		term.tmux(append([]string{"send-keys", "-t", "t"}, rest...)...)
	case "resize":
		usage(ts, len(rest) == 2, use)
		term.tmux("resize-window", "-t", "t", "-x", rest[0], "-y", rest[1])
	case "shows", "styled":
		term.await(verb == "styled", fmt.Sprintf("%q", rest[0]), func(text string) bool {
			return regexp.MustCompile(`(?m)`+rest[0]).MatchString(text) != neg
		})
	case "cmp":
		want := strings.TrimRight(ts.ReadFile(rest[0]), "\n")
		term.await(false, "\n"+want, func(text string) bool { return steady(text) == want })
	default:
		usage(ts, false, use)
	}
}

// terminal is a tmux of its own.
type terminal struct {
	socket string
	test   interface {
		Fatalf(format string, args ...any)
	}
}

// start runs a shell with the variables in a directory, in a locale with Unicode.
func (term terminal) start(columns, rows, dir string, vars []string) {
	command := append([]string{"env", "-i", "TERM=screen-256color", "LANG=C.UTF-8", "PS1=$ "}, vars...)
	term.tmux(append([]string{"-f", "/dev/null", "-u", "new-session", "-d", "-s", "t", "-x", columns, "-y", rows, "-c", dir}, append(command, "sh")...)...)
	term.tmux("set-option", "-g", "escape-time", "0")
	// What is typed before would stand before the prompt.
	term.await(false, "the prompt", func(text string) bool { return strings.HasPrefix(text, "$") })
}

// end also ends what runs in it, by SIGHUP.
func (term terminal) end() { _ = exec.Command("tmux", "-S", term.socket, "kill-server").Run() }

func (term terminal) tmux(args ...string) string {
	out, err := exec.Command("tmux", append([]string{"-S", term.socket}, args...)...).CombinedOutput()
	if err != nil {
		term.test.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// enter types a text and Enter.
func (term terminal) enter(text string) {
	term.tmux("send-keys", "-t", "t", "-l", text)
	term.tmux("send-keys", "-t", "t", "Enter")
}

// shows waits until it shows what matches.
func (term terminal) shows(pattern string) {
	term.await(false, fmt.Sprintf("%q", pattern), regexp.MustCompile(`(?m)`+pattern).MatchString)
}

// await looks at the terminal until what it shows is so.
func (term terminal) await(styles bool, what string, is func(text string) bool) {
	capture := []string{"capture-pane", "-p", "-t", "t"}
	if styles {
		capture = append(capture, "-e")
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		text := term.tmux(capture...)
		if is(text) {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			term.test.Fatalf("the terminal does not show %s, but\n%s", what, text)
		}
	}
}

var (
	ages   = regexp.MustCompile(`\b(\d+d\d\dh|\d+h\d\dm|\d+m\d\ds|\d+s)\b`)
	totals = regexp.MustCompile(`cpu [\d.]+% mem [\d.]+ [kM]B`)
	values = regexp.MustCompile(` {2,}\d+(\.\d)?( [kM]B)?( |$)`)
	bars   = regexp.MustCompile(`[▁▂▃▄▅▆▇█]+`)
	spaces = regexp.MustCompile(` {2,}`)
)

// steady has N for what differs from run to run: ages, PIDs, amounts and bars. It
// has two spaces between columns, whose widths differ too, and no empty lines.
func steady(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = bars.ReplaceAllString(strings.TrimRight(line, " \n"), " ")
		body := strings.TrimLeft(line, " ")
		if body == "" {
			continue
		}
		indent := line[:len(line)-len(body)]
		body = totals.ReplaceAllString(ages.ReplaceAllString(body, "N"), "cpu N% mem N MB")
		if !strings.HasPrefix(body, "kita top") {
			// Twice: a match takes the space before the next one.
			body = values.ReplaceAllString(values.ReplaceAllString(body, "  N$2$3"), "  N$2$3")
		}
		lines = append(lines, indent+strings.TrimRight(spaces.ReplaceAllString(body, "  "), " "))
	}
	return strings.Join(lines, "\n")
}

func TestSteadyTextOfATerminal(t *testing.T) {
	got := steady("kita top  2 children: 1 stopped  cpu 0.1% mem 4.9 MB\n\n> db    stopped    -      -    -   0\n  web   running  0.1   ▁▁▁  3.2 MB  ████  1219   1m06s         12\nline 1\n")
	want := "kita top  2 children: 1 stopped  cpu N% mem N MB\n> db  stopped  -  -  -  N\n  web  running  N  N MB  N  N  N\nline 1"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
