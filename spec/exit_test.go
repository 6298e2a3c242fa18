package spec

import (
	"encoding/json"
	"testing"
	"time"
)

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

// Who reads .code == 0 must not take a child that was killed for a success.
func TestExitInJSONHasACodeOrASignal(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct {
		exit Exit
		want string
		// former is how it stands in the files of former versions.
		former string
	}{
		"success":     {Exit{Incarnation: 1, Known: true, At: at}, `{"incarnation":1,"known":true,"code":0,"at":"2026-01-02T03:04:05Z"}`, ""},
		"code":        {Exit{Incarnation: 1, Known: true, Code: 3, At: at}, `{"incarnation":1,"known":true,"code":3,"at":"2026-01-02T03:04:05Z"}`, ""},
		"signal":      {Exit{Incarnation: 1, Known: true, Signal: 9, At: at}, `{"incarnation":1,"known":true,"signal":"SIGKILL","at":"2026-01-02T03:04:05Z"}`, `{"incarnation":1,"known":true,"code":0,"signal":"SIGKILL","at":"2026-01-02T03:04:05Z"}`},
		"core dumped": {Exit{Incarnation: 1, Known: true, Signal: 11, CoreDumped: true, At: at}, `{"incarnation":1,"known":true,"signal":"SIGSEGV","core_dumped":true,"at":"2026-01-02T03:04:05Z"}`, ""},
		"unknown":     {Exit{Incarnation: 1, OOMKilled: true, At: at}, `{"incarnation":1,"known":false,"oom_killed":true,"at":"2026-01-02T03:04:05Z"}`, `{"incarnation":1,"known":false,"code":0,"oom_killed":true,"at":"2026-01-02T03:04:05Z"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(tt.exit)
			if err != nil || string(got) != tt.want {
				t.Fatalf("%s, %v, want %s", got, err, tt.want)
			}
			if tt.former == "" {
				tt.former = tt.want
			}
			for _, text := range []string{tt.want, tt.former} {
				var back Exit
				if err := json.Unmarshal([]byte(text), &back); err != nil || back != tt.exit {
					t.Errorf("%s is read as %+v, %v", text, back, err)
				}
			}
		})
	}
}

func TestExitClassInJSONHasACodeOrASignal(t *testing.T) {
	got, err := json.Marshal([]ExitClass{{}, {Code: 2}, {Signal: 15}})
	if want := `[{"code":0},{"code":2},{"signal":"SIGTERM"}]`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

// The hash was saved by versions that wrote a code beside the signal.
func TestHashIsAsBeforeWithSuccessfulSignals(t *testing.T) {
	text := "command: ./run\nenv: {A: '\"success\":[{\"code\":2}]'}\nrestart: {policy: on-failure, success: [2, TERM]}\n"
	if got, want := parse(t, text).Hash, "a3fe343645d12a806c431da3c7223f19"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
