package spec

import "testing"

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"one":                            "one",
		"one\n":                          "one",
		"one\ntwo":                       "one (and 1 more)",
		"one\r\ntwo\n3\n":                "one (and 2 more)",
		"one\ntwo\nand 24 more in x.env": "one (and 25 more)",
		"one\r\nand 24 more\r\n":         "one (and 24 more)",
		"one\nand 1 more in x.env":       "one (and 1 more)",
		"and 24 more":                    "and 24 more",
		// What only looks like it is a line as any other.
		"one\nand 24 more\ntwo":              "one (and 2 more)",
		"one\nand many more":                 "one (and 1 more)",
		"one\nand 24":                        "one (and 1 more)",
		"one\nand -2 more":                   "one (and 1 more)",
		"one\nand 99999999999999999999 more": "one (and 1 more)",
	} {
		if got := FirstLine(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
