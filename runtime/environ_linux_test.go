package runtime

import (
	"os"
	"path/filepath"
	"slices"
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

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if st, err := parseStat(text); err == nil && st.state == 0 {
			t.Errorf("no state in %q", text)
		}
	})
}
