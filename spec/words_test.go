package spec

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestSplitCommand(t *testing.T) {
	tests := []struct {
		name, line string
		want       []string
		err        string
	}{
		{name: "words", line: "./server --port  80", want: []string{"./server", "--port", "80"}},
		{name: "double quotes", line: `sh -c "echo hi"`, want: []string{"sh", "-c", "echo hi"}},
		{name: "single quotes", line: `sh -c 'echo "hi" \n'`, want: []string{"sh", "-c", `echo "hi" \n`}},
		{name: "quotes within a word", line: `a"b c"'d e'f`, want: []string{"ab cd ef"}},
		{name: "empty word", line: `x "" ''`, want: []string{"x", "", ""}},
		{name: "backslash", line: `x a\ b \" \n \\`, want: []string{"x", "a b", `"`, "n", `\`}},
		{name: "backslash in double quotes", line: `grep "\d\"\\\$"`, want: []string{"grep", `\d"\$`}},
		{name: "escaped space at the end", line: `x a\ `, want: []string{"x", "a "}},
		{name: "continued line", line: "x \\\n  a b\\\nc", want: []string{"x", "a", "bc"}},
		{name: "block of text", line: "\n x a \n\n", want: []string{"x", "a"}},
		{name: "nothing is expanded", line: `x $HOME ~ * {a,b} "$HOME" #no !`, want: []string{"x", "$HOME", "~", "*", "{a,b}", "$HOME", "#no", "!"}},
		{name: "operators in quotes", line: `sh -c 'a | b; c' "d & e" \;`, want: []string{"sh", "-c", "a | b; c", "d & e", ";"}},
		{name: "assignment later on", line: "env A=b x", want: []string{"env", "A=b", "x"}},
		{name: "assignment with a quoted name", line: `"A"=b x`, want: []string{"A=b", "x"}},
		{name: "UTF-8", line: "grüß \\ß 'ß'", want: []string{"grüß", "ß", "ß"}},

		{name: "empty", line: " \n", err: "the program is empty"},
		{name: "empty program", line: `"" a`, err: "the program is empty"},
		{name: "pipe", line: "a | b", err: `'|' has a meaning only a shell knows, write ["sh", "-c", "..."]`},
		{name: "redirection", line: "a 2>&1", err: `'>' has`},
		{name: "background", line: "a &", err: `'&' has`},
		{name: "two commands", line: "a; b", err: `';' has`},
		{name: "substitution", line: "a $(b)", err: `'(' has`},
		{name: "backticks", line: "a `b`", err: "'`' has"},
		{name: "two lines", line: "a\nb", err: "a line break ends a command"},
		{name: "open quote", line: `a "b`, err: `the quote " is not closed`},
		{name: "open single quote", line: `it's`, err: `the quote ' is not closed`},
		{name: "backslash at the end", line: `a \`, err: "a backslash at the end"},
		{name: "assignment", line: "PORT=80 ./server", err: `"PORT=80" sets a variable only in a shell, write it under env`},
		{name: "assignment of quoted text", line: `A="b c" ./server`, err: "write it under env"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := splitCommand(tt.line)
			switch {
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("got %q, %v, want error %s", got, err, tt.err)
			case tt.err == "" && (err != nil || !slices.Equal(got, tt.want)):
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestSplitWords(t *testing.T) {
	tests := []struct {
		line string
		want []string
		err  string
	}{
		{"trystart web -o json", []string{"trystart", "web", "-o", "json"}, ""},
		{`start "a b" 'c'`, []string{"start", "a b", "c"}, ""},
		{" \n", nil, ""},
		{`"" x`, []string{"", "x"}, ""},
		{"A=b start", []string{"A=b", "start"}, ""},
		{"check; kill", nil, "';' has a meaning only a shell knows, and this is none: put it in quotes"},
		{"check\nkill", nil, "a line break ends a command, give one at a time"},
		{`check "web`, nil, "the quote \" is not closed"},
	}
	for _, tt := range tests {
		got, err := SplitWords(tt.line)
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: %q, %v, want error %s", tt.line, got, err, tt.err)
		}
		if tt.err == "" && (err != nil || !slices.Equal(got, tt.want)) {
			t.Errorf("%q: %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
}

// What a real shell makes of a line is what splitCommand makes of it, as far as
// nothing in it is to be expanded.
func TestSplitCommandAgreesWithTheShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "b", "c=d", " ", " ", "\t", "'", `"`, `\`, `\\`, `\"`, `\n`, "-", "ß", "\\\n", ".", "''", `""`, "' '", `"\`}
	var script strings.Builder
	var lines []string
	for len(lines) < 2000 {
		var b strings.Builder
		for range 1 + rnd.IntN(10) {
			b.WriteString(parts[rnd.IntN(len(parts))])
		}
		line := "x" + b.String()
		if _, err := splitCommand(line); err != nil {
			continue // unclosed, or an assignment: not one command for a shell
		}
		lines = append(lines, line)
		fmt.Fprintf(&script, "p %s\n", line)
	}
	cmd := exec.CommandContext(t.Context(), sh)
	cmd.Stdin = strings.NewReader("p() { for w; do printf '<%s>' \"$w\"; done; printf '\\0'; }\n" + script.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(string(out), "\x00")
	if len(answers) != len(lines)+1 {
		t.Fatalf("%d answers to %d lines", len(answers)-1, len(lines))
	}
	for i, line := range lines {
		words, _ := splitCommand(line)
		if got := "<" + strings.Join(words, "><") + ">"; got != answers[i] {
			t.Errorf("%q: got %s, the shell says %s", line, got, answers[i])
		}
	}
}

func TestDisplayedWordsReadBack(t *testing.T) {
	for _, words := range [][]string{
		{"./server", "--port", "80"}, {"sh", "-c", "echo 'a' | b\nc"}, {"x", "", `\`, "$HOME", "a b", "#"}, {"A=b", "A=b"},
	} {
		got, err := splitCommand(displayWords(words))
		if err != nil || !slices.Equal(got, words) {
			t.Errorf("%q: shown as %s, read back as %q, %v", words, displayWords(words), got, err)
		}
	}
}

func FuzzCommandSplit(f *testing.F) {
	for _, s := range []string{"./server --port 80", `sh -c "echo hi"`, `a\ b 'c'"d"`, "a | b", "\\\n", `"\`, "A=b", "ß"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitCommand(line)
		if err != nil {
			if words != nil || err.Error() == "" || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q with error %q", words, err)
			}
			return
		}
		if len(words) == 0 || words[0] == "" {
			t.Fatalf("no program in %q", words)
		}
		again, err := splitCommand(displayWords(words))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q read back as %q, %v", words, again, err)
		}
	})
}
