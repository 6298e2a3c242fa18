package spec

import "testing"

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                "",
		"one":             "one",
		"one\n":           "one",
		"one\ntwo":        "one (and 1 more)",
		"one\r\ntwo\n3\n": "one (and 2 more)",
	} {
		if got := FirstLine(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
