package main

import (
	"strings"
	"testing"
)

func TestOnlyPlainWordsAreOffered(t *testing.T) {
	for word, want := range map[string]bool{
		"web": true, "worker-1": true, "a_b": true, "größe": true, "@web": true, "h1.example:33889": true, "a,b": true, "10%": true,
		"": false, "-rf": false, "$(id)": false, "`id`": false, "a'b": false, `a"b`: false, `a\b`: false, "a&b": false, "a|b": false, "a>b": false,
		"a*": false, "a?": false, "[a]": false, "{a}": false, "~a": false, "a!b": false, "a#b": false, "=a": false, "^a": false, "a b": false, "a\tb": false,
	} {
		if isPlainWord(word) != want {
			t.Errorf("%q is plain: %t, want %t", word, !want, want)
		}
	}
}

// What -o takes is offered, in the help and by the shell, and no more: wide is for
// the tables of check.
func TestFormatsAreThoseOfTheCommand(t *testing.T) {
	for command, want := range map[string]string{
		"start": "json yaml", "stop": "json yaml", "wait": "json yaml", "diff": "json yaml", "info": "json yaml",
		"rotate": "json yaml", "upgrade": "json yaml", "why": "json yaml",
		"check": "json yaml wide", "logs": "json", "events": "json",
	} {
		_, offered, _ := kita("", "__complete", command, "-o", "")
		offered, _, _ = strings.Cut(offered, ":")
		if got := strings.Join(strings.Fields(offered), " "); got != want {
			t.Errorf("%s -o: %q is offered, want %q", command, got, want)
		}
		_, help, _ := kita("", command, "--help")
		_, line, _ := strings.Cut(help, "--output string")
		line, _, _ = strings.Cut(line, "\n")
		for _, f := range []string{"json", "yaml", "wide"} {
			if strings.Contains(line, f) != strings.Contains(want, f) {
				t.Errorf("%s --help says of -o:%s", command, line)
			}
		}
	}
}
