package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.env"), []byte("A=file\nB=file\nHOME=/file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	base := []string{"PATH=/bin", "A=base", "HOME=/root", "USER=root", "A=base again",
		"KITA_CHILD=outer", "KITA_INCARNATION=1", "NOTIFY_SOCKET=/run/notify", "broken"}
	tests := []struct {
		name  string
		child spec.Child
		as    *account
		want  []string
	}{
		{"the server's", spec.Child{}, nil,
			[]string{"A=base again", "HOME=/root", "KITA_CHILD=web", "KITA_INCARNATION=12", "PATH=/bin", "USER=root"}},
		{"env_file, then env", spec.Child{EnvFile: "x.env", Env: []spec.EnvVar{{Name: "B", Value: "env"}, {Name: "C", Value: ""}}}, nil,
			[]string{"A=file", "B=env", "C=", "HOME=/file", "KITA_CHILD=web", "KITA_INCARNATION=12", "PATH=/bin", "USER=root"}},
		{"absolute env_file", spec.Child{EnvFile: filepath.Join(dir, "x.env")}, nil,
			[]string{"A=file", "B=file", "HOME=/file", "KITA_CHILD=web", "KITA_INCARNATION=12", "PATH=/bin", "USER=root"}},
		{"another user", spec.Child{Env: []spec.EnvVar{{Name: "HOME", Value: "/srv"}}}, &account{name: "bob", home: "/home/bob"},
			[]string{"A=base again", "HOME=/srv", "KITA_CHILD=web", "KITA_INCARNATION=12", "LOGNAME=bob", "PATH=/bin", "USER=bob"}},
		{"tokens cannot be overridden, a notify socket can be given",
			spec.Child{Env: []spec.EnvVar{{Name: "KITA_CHILD", Value: "x"}, {Name: "NOTIFY_SOCKET", Value: "/mine"}}}, nil,
			[]string{"A=base again", "HOME=/root", "KITA_CHILD=web", "KITA_INCARNATION=12", "NOTIFY_SOCKET=/mine", "PATH=/bin", "USER=root"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := New(nil, Options{Env: base})
			defer h.Close()
			c := tt.child
			c.Name, c.File = "web", filepath.Join(dir, "web.yml")
			e, err := h.environ(&c, 12, tt.as)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(e.entries)
			if !slices.Equal(e.entries, tt.want) {
				t.Errorf("got  %q\nwant %q", e.entries, tt.want)
			}
		})
	}
}

func TestParseEnvFile(t *testing.T) {
	tests := []struct {
		name, text string
		want       []spec.EnvVar
		err        string
	}{
		{"nothing", "", nil, ""},
		{"comments and empty lines", "# a\n\n \t\n  # b\n", nil, ""},
		{"plain", "A=1\nB= two words \n", []spec.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "two words"}}, ""},
		{"no value", "A=\n", []spec.EnvVar{{Name: "A"}}, ""},
		{"no last newline", "A=1", []spec.EnvVar{{Name: "A", Value: "1"}}, ""},
		{"from Windows", "\ufeffA=1\r\nB='2'\r\n", []spec.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}, ""},
		{"a value may hold anything", "A=b=c # d $E 'f'", []spec.EnvVar{{Name: "A", Value: "b=c # d $E 'f'"}}, ""},
		{"single quotes", `A=' b\n"c" '`, []spec.EnvVar{{Name: "A", Value: ` b\n"c" `}}, ""},
		{"double quotes", `A=" b\n\t\"c\" \\ \$ \x " # d`, []spec.EnvVar{{Name: "A", Value: " b\n\t\"c\" \\ $ \\x "}}, ""},
		{"export", "export A=1\nexport\tB=2\nexportC=3", []spec.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}, {Name: "exportC", Value: "3"}}, ""},
		{"no equals sign", "A=1\nB", nil, `x.env:2: "B" has no '=', write NAME=VALUE`},
		{"no name", "=1", nil, `x.env:1: "" is no name of a variable`},
		{"blank in the name", "A B=1", nil, `x.env:1: "A B" is no name of a variable`},
		{"open quote", "A='b", nil, `x.env:1: A: the quote is not closed`},
		{"escaped last quote", `A="b\"`, nil, `x.env:1: A: the quote is not closed`},
		{"text after the quote", "A='b'c", nil, `x.env:1: A: "c" follows the closing quote`},
		{"NUL", "A=b\x00c", nil, `x.env:1: the value of A holds a NUL`},
		{"all errors", "A\nB=1\n=", nil, "x.env:1: \"A\" has no '=', write NAME=VALUE\nx.env:3: \"\" is no name of a variable"},
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

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if st, err := parseStat(text); err == nil && st.state == 0 {
			t.Errorf("no state in %q", text)
		}
	})
}
