package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"kita/control/controltest"
	"kita/spec"
)

// TestEveryFailureIsJSON: whatever came of asking a server stands on stdout in one
// shape, and on stderr in words.
func TestEveryFailureIsJSON(t *testing.T) {
	server := serveFake(t, controltest.New(controltest.Child("web")))
	ofChild := []string{"start", "stop", "restart", "trystart", "check", "check --watch", "wait", "diff", "why", "logs", "logs --path", "logs -f", "events", "rotate"}
	ofServer := []string{"info", "kill", "upgrade", "check", "check --watch", "diff", "events", "events -f"}
	dead := unused(t)
	type outcome struct {
		words  string
		codes  []spec.Code
		status []int
	}
	cases := map[string]outcome{}
	for _, command := range ofChild {
		cases[command+": no such child"] = outcome{command + " nope", []spec.Code{spec.NotFound, spec.NotRunning}, []int{exitFailed, exitConfig}}
		cases[command+": unreachable"] = outcome{command + " web on " + dead, []spec.Code{"unreachable"}, []int{exitUnreachable}}
		cases[command+": no key"] = outcome{command + " web on " + dead + " with /nowhere/ops.pem", []spec.Code{"failed"}, []int{exitFailed}}
	}
	for _, command := range ofServer {
		cases[command+" of the server: unreachable"] = outcome{command + " on " + dead, []spec.Code{"unreachable"}, []int{exitUnreachable}}
		cases[command+" of the server: no key"] = outcome{command + " on " + dead + " with /nowhere/ops.pem", []spec.Code{"failed"}, []int{exitFailed}}
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			status, out, stderr := kita(server.socket, append(strings.Fields(tt.words), "-o", "json")...)
			var f failure
			if err := json.Unmarshal([]byte(out), &f); err != nil || f.Error == "" || !slices.Contains(tt.codes, f.Code) {
				t.Errorf("%v, stdout %q", err, out)
			}
			// The words are the same, with what else there is to say.
			if !slices.Contains(tt.status, status) || !strings.Contains(stderr, strings.SplitN(f.Error, "\n", 2)[0]) {
				t.Errorf("status %d, stderr %q", status, stderr)
			}
		})
	}
}

// Of several hosts each has its own, as their answers have.
func TestEveryFailureOfSeveralHostsIsJSON(t *testing.T) {
	server := serveFake(t, controltest.New(controltest.Child("web")))
	dead := unused(t)
	for _, format := range []string{"json", "yaml"} {
		for words, want := range map[string]map[string]spec.Code{
			"info on " + dead + "," + unused(t) + " with /nowhere/ops.pem": {dead: "failed"},
			"check nope on " + dead + "," + server.tcp:                     {dead: "unreachable", server.tcp: spec.NotFound},
		} {
			_, out, _ := kita("", append(strings.Fields(words), "-o", format)...)
			var got map[string]failure
			if err := yaml.Unmarshal([]byte(out), &got); err != nil || len(got) != 2 {
				t.Fatalf("%s: %v, stdout %q", words, err, out)
			}
			for host, code := range want {
				if got[host].Code != code || got[host].Error == "" {
					t.Errorf("%s: of %s: %+v", words, host, got[host])
				}
			}
		}
	}
	for _, words := range []string{"logs web nope", "events web", "check nope --watch"} {
		_, out, _ := kita("", append(strings.Fields(words), "-o", "json", "on", server.tcp+","+dead, "with", "/nowhere/ops.pem")...)
		hosts := map[string]bool{}
		for line := range strings.Lines(out) {
			var f struct {
				Host string
				failure
			}
			if err := json.Unmarshal([]byte(line), &f); err != nil || f.Code != "failed" {
				t.Errorf("%s: %v, %q", words, err, line)
			}
			hosts[f.Host] = true
		}
		if len(hosts) != 2 || !hosts[dead] {
			t.Errorf("%s: stdout %q", words, out)
		}
	}
}
