package main

import "testing"

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
