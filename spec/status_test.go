package spec

import "testing"

func TestExitInWords(t *testing.T) {
	for want, e := range map[string]Exit{
		"exit 0":                           {Known: true},
		"exit 3":                           {Known: true, Code: 3},
		"killed by SIGTERM":                {Known: true, Signal: 15},
		"exit status unknown":              {Code: 3, CoreDumped: true},
		"killed by SIGABRT, core dumped":   {Known: true, Signal: 6, CoreDumped: true},
		"killed by SIGKILL, out of memory": {Known: true, Signal: 9, OOMKilled: true},
		"killed by SIGBUS, out of memory, core dumped": {Known: true, Signal: 7, OOMKilled: true, CoreDumped: true},
		"exit 1, out of memory":                        {Known: true, Code: 1, OOMKilled: true},
		"exit status unknown, out of memory":           {OOMKilled: true},
	} {
		if got := e.String(); got != want {
			t.Errorf("%+v is %q, want %q", e, got, want)
		}
	}
}
