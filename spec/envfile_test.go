package spec

import (
	"slices"
	"strings"
	"testing"
)

func TestParseEnvFile(t *testing.T) {
	tests := []struct {
		name, text string
		want       []EnvVar
		err        string
	}{
		{"nothing", "", nil, ""},
		{"comments and empty lines", "# a\n\n \t\n  # b\n", nil, ""},
		{"plain", "A=1\nB= two words \n", []EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "two words"}}, ""},
		{"no value", "A=\n", []EnvVar{{Name: "A"}}, ""},
		{"no last newline", "A=1", []EnvVar{{Name: "A", Value: "1"}}, ""},
		{"from Windows", "\ufeffA=1\r\nB='2'\r\n", []EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}, ""},
		{"a value may hold anything", "A=b=c # d $E 'f'", []EnvVar{{Name: "A", Value: "b=c # d $E 'f'"}}, ""},
		{"single quotes", `A=' b\n"c" '`, []EnvVar{{Name: "A", Value: ` b\n"c" `}}, ""},
		{"double quotes", `A=" b\n\t\"c\" \\ \$ \x " # d`, []EnvVar{{Name: "A", Value: " b\n\t\"c\" \\ $ \\x "}}, ""},
		{"export", "export A=1\nexport\tB=2\nexportC=3", []EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}, {Name: "exportC", Value: "3"}}, ""},
		{"no equals sign", "A=1\nB", nil, `x.env:2: no '=', write NAME=VALUE`},
		{"no name", "=1", nil, `x.env:1: what is before the '=' is no name of a variable, write NAME=VALUE`},
		{"blank in the name", "A B=1", nil, `x.env:1: what is before the '=' is no name of a variable, write NAME=VALUE`},
		{"open quote", "A='b", nil, `x.env:1: A: the quote is not closed`},
		{"escaped last quote", `A="b\"`, nil, `x.env:1: A: the quote is not closed`},
		{"text after the quote", "A='b'c", nil, `x.env:1: A: something follows the closing quote`},
		{"NUL", "A=b\x00c", nil, `x.env:1: the value of A holds a NUL`},
		{"all errors", "A\nB=1\n=", nil, "x.env:1: no '=', write NAME=VALUE\nx.env:3: what is before the '=' is no name of a variable, write NAME=VALUE"},
		{"no more errors than one reads", strings.Repeat("A\n", 29), nil, strings.Join([]string{"x.env:1: no '=', write NAME=VALUE", "x.env:2: no '=', write NAME=VALUE",
			"x.env:3: no '=', write NAME=VALUE", "x.env:4: no '=', write NAME=VALUE", "x.env:5: no '=', write NAME=VALUE", "and 24 more in x.env"}, "\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseEnvFile("x.env", tt.text)
			if err != nil || tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got error %v, want %s", err, tt.err)
				}
				return
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The reason of a child that could not be started counts what is wrong, not the
// lines of the message.
func TestFirstLineCountsWhatIsWrongInAnEnvFile(t *testing.T) {
	for wrong, want := range map[int]string{1: "", 2: " (and 1 more)", 5: " (and 4 more)", 6: " (and 5 more)", 7: " (and 6 more)", 30: " (and 29 more)"} {
		_, err := parseEnvFile("x.env", strings.Repeat("A\n", wrong))
		if got := FirstLine(err.Error()); got != "x.env:1: no '=', write NAME=VALUE"+want {
			t.Errorf("%d are wrong: got %q", wrong, got)
		}
	}
}

func FuzzParseEnvFile(f *testing.F) {
	f.Add("A=1\n# b\nexport C='d' # e\nF=\"\\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := parseEnvFile("x.env", text)
		if err != nil {
			return
		}
		// What was read can be written so that it is read the same again.
		var b strings.Builder
		for _, v := range vars {
			if v.Name == "" || strings.ContainsAny(v.Name, "=\x00\n") || strings.Contains(v.Value, "\x00") {
				t.Errorf("cannot be an environment: %q", v)
			}
			value := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v.Value)
			b.WriteString("export " + v.Name + `="` + value + "\"\n")
		}
		again, err := parseEnvFile("x.env", b.String())
		if err != nil || !slices.Equal(again, vars) {
			t.Errorf("got %q, %v; want %q", again, err, vars)
		}
	})
}
