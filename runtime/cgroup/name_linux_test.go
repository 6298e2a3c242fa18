package cgroup

import (
	"strings"
	"testing"
	"unicode/utf8"

	"kita/spec"
)

func TestNameOfALeaf(t *testing.T) {
	long := strings.Repeat("é", 100)
	for _, tc := range []struct {
		child       string
		incarnation uint64
		want        string
	}{
		{"web", 7, "web.7"},
		{"wéb-1_a", 18446744073709551615, "wéb-1_a.18446744073709551615"},
		{"(deleted)", 1, "(deleted).1"},
		{"50%:x", 0, "50%:x.0"},
		{long, 18446744073709551615, long + ".18446744073709551615"},
		// No child is called so, and yet nothing can go wrong.
		{".hidden", 1, ",2ehidden.1"},
		{"../up", 1, ",2e,2e,2fup.1"},
		{"a b\nc", 1, "a,20b,0ac.1"},
		{"a,2e", 1, "a,2c2e.1"},
		{"a (deleted)", 1, "a,20(deleted).1"},
		{"\xff\x00", 1, "\xff,00.1"},
	} {
		got, err := leafName(tc.child, tc.incarnation)
		if err != nil || got != tc.want {
			t.Errorf("%q: got %q (%v), want %q", tc.child, got, err, tc.want)
		}
		child, incarnation, ok := parseLeafName(got)
		if child != tc.child || incarnation != tc.incarnation || !ok {
			t.Errorf("%q: back comes %q %d %v", got, child, incarnation, ok)
		}
	}
	for _, child := range []string{"", strings.Repeat("x", 254), strings.Repeat(" ", 100)} {
		if got, err := leafName(child, 1); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %q (%v)", child, got, err)
		}
	}
}

func TestRunInProcCgroup(t *testing.T) {
	for _, tc := range []struct {
		name, text  string
		id, child   string
		incarnation uint64
	}{
		{"cgroup2", "0::/kita-1f/web.3\n", "1f", "web", 3},
		{"no end of line", "0::/kita-1f/web.3", "1f", "web", 3},
		{"of a zombie", "0::/a.slice/kita-1f/web.3 (deleted)\n", "1f", "web", 3},
		{"the child's own group", "0::/kita-1f/web.3/own/deeper (deleted)\n", "1f", "web", 3},
		{"cgroup1", "5:pids:/\n4:cpu,cpuacct:/kita-1f/web.3\n0::/\n", "1f", "web", 3},
		{"colons in the path", "0::/s:d:x/kita-1f/a:b.3\n", "1f", "a:b", 3},
		{"a server in a child", "0::/kita-1f/web.3/kita-2e/db.4\n", "2e", "db", 4},
		{"that server itself", "0::/kita-1f/web.3/kita-2e/supervisor\n", "1f", "web", 3},
		{"a name like a base", "0::/kita-1f/kita-2e.4\n", "1f", "kita-2e", 4},
		{"outside a namespace", "0::/../../kita-1f/web.3\n", "1f", "web", 3},
		{"no run", "0::/kita-1f\n0::/kita-1f/supervisor\n0::/web.3\n", "", "", 0},
		{"no server", "0::/kita-/web.3\n0::/kita-xyz/web.3\n", "", "", 0},
		{"no text", "", "", "", 0},
		{"no path", "0:\n::\n0::\n", "", "", 0},
		{"not a number", "0::/kita-1f/web.03\n0::/kita-1f/web.+3\n0::/kita-1f/web.\n0::/kita-1f/.3\n0::/kita-1f/web.3.4\n", "", "", 0},
		{"never escaped so", "0::/kita-1f/w,61b.3\n0::/kita-1f/w,2E.3\n0::/kita-1f/w,2.3\n", "", "", 0},
	} {
		id, child, incarnation, ok := ParsePath(tc.text)
		if id != tc.id || child != tc.child || incarnation != tc.incarnation || ok != (tc.id != "") {
			t.Errorf("%s: got %q %q %d %v", tc.name, id, child, incarnation, ok)
		}
	}
}

func TestProcessIsInALeaf(t *testing.T) {
	for text, want := range map[string]bool{
		"0::/x/kita-1f/web.3\n":               true,
		"0::/x/kita-1f/web.3/own (deleted)\n": true,
		"7:pids:/kita-1f/web.3\n0::/\n":       true,
		"0::/kita-1f/web.3/kita-2e/db.4\n":    true,
		"0::/kita-1f/web.33\n":                false,
		"0::/kita-1f\n":                       false,
		"0::/kita-1f0/web.3\n":                false,
		"0::/kita-1f/x/web.3\n":               false,
		"":                                    false,
	} {
		if got := inLeaf(text, "1f", "web.3"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzLeafName(f *testing.F) {
	f.Add("web", uint64(3))
	f.Add(",2e/..\n (deleted)", uint64(0))
	f.Fuzz(func(t *testing.T, child string, incarnation uint64) {
		name, err := leafName(child, incarnation)
		if err != nil {
			if spec.ValidName(child) == nil {
				t.Errorf("%q is the name of a child: %v", child, err)
			}
			return
		}
		if strings.ContainsAny(name, "/ \n") || name[0] == '.' || len(name) > maxName {
			t.Errorf("%q makes %q", child, name)
		}
		if utf8.ValidString(child) != utf8.ValidString(name) {
			t.Errorf("%q makes %q", child, name)
		}
		id, back, number, ok := ParsePath("4:memory:/\n0::/a.slice/kita-1f/" + name + " (deleted)\n")
		if id != "1f" || back != child || number != incarnation || !ok {
			t.Errorf("%q %d: back comes %q %q %d %v", child, incarnation, id, back, number, ok)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	f.Add("0::/kita-1f/web.3 (deleted)\n")
	f.Add("5:cpu,cpuacct:/kita-1f/a,2eb.3/x\n0::/\n")
	f.Fuzz(func(t *testing.T, text string) {
		id, child, incarnation, ok := ParsePath(text)
		if !ok {
			return
		}
		name, err := leafName(child, incarnation)
		if err != nil || !strings.Contains(text, "kita-"+id+"/"+name) || !inLeaf(text, id, name) {
			t.Errorf("%q: found %q %q %d, which makes %q (%v)", text, id, child, incarnation, name, err)
		}
	})
}
