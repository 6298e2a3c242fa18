package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"sigs.k8s.io/yaml"

	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
)

// TestTextOfAHostIsShownWhateverItHolds: it comes out as it is in the answer, and
// nothing of it reaches the terminal that it would act on.
func TestTextOfAHostIsShownWhateverItHolds(t *testing.T) {
	var text strings.Builder
	for r := range rune(0x10000) {
		if r < 0xd800 || r > 0xdfff {
			text.WriteRune(r)
		}
	}
	text.WriteString("😀\U000e0001\U0010ffff")
	odd := controltest.Child("web")
	odd.Env = []spec.EnvVar{{Name: "PS1", Value: "\u009b"}, {Name: strings.Repeat("x", 2000), Value: text.String()}}
	server := serveFake(t, controltest.New(odd))
	for _, command := range []string{"check -o json", "check -o yaml", "check web -o json", "check web -o yaml"} {
		status, out, stderr := kita(server.socket, strings.Fields(command)...)
		if want := map[bool]int{true: exitNotRunning, false: exitOK}[strings.Contains(command, "web")]; status != want || stderr != "" {
			t.Fatalf("%s: status %d, stderr %s", command, status, stderr)
		}
		var view spec.View
		err := yaml.Unmarshal([]byte(out), &view)
		if !strings.Contains(command, "web") {
			var views []spec.View
			if err = yaml.Unmarshal([]byte(out), &views); len(views) == 1 {
				view = views[0]
			}
		}
		if err != nil || view.Spec == nil || !reflect.DeepEqual(view.Spec.Env, odd.Env) {
			t.Errorf("%s: it is not what the host answered, %v", command, err)
		}
		if at := strings.IndexFunc(out, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); at >= 0 {
			t.Errorf("%s: it has %q", command, out[at:at+3])
		}
	}
}

// TestAnAnswerThatCannotBeShownIsTheErrorOfItsHost: the others are asked.
func TestAnAnswerThatCannotBeShownIsTheErrorOfItsHost(t *testing.T) {
	hosts := []fleet.Host{{Name: "bad", Label: "bad"}, {Name: "good", Label: "good"}}
	for _, format := range []format{formatJSON, formatYAML} {
		var out, stderr bytes.Buffer
		p := &program{name: "kita", out: &out, err: &stderr}
		r := request{hosts: hosts, many: true, parallel: 1, timeout: defaultTimeout, format: format}
		err := fanOutHosts(t.Context(), p, r, showing[float64]{}, func(_ context.Context, h fleet.Host) (float64, error) {
			return map[string]float64{"bad": math.NaN(), "good": 7}[h.Name], nil
		})
		var answer struct {
			Bad  failure
			Good float64
		}
		if exitStatus(err) != exitFailed || yaml.Unmarshal(out.Bytes(), &answer) != nil || answer.Good != 7 || answer.Bad.Code != "failed" {
			t.Errorf("%s: %v, stdout %s", format, err, &out)
		}
		if got := stderr.String(); !strings.HasPrefix(got, "kita: bad: its answer cannot be shown: ") || !strings.Contains(got, "1 of 2 hosts failed: bad") {
			t.Errorf("%s: stderr %s", format, got)
		}
		if format == formatJSON && !json.Valid(out.Bytes()) {
			t.Errorf("it is no JSON: %s", &out)
		}
		r.hosts, r.many = hosts[:1], false
		out.Reset()
		stderr.Reset()
		err = fanOutHosts(t.Context(), p, r, showing[float64]{}, func(context.Context, fleet.Host) (float64, error) { return math.NaN(), nil })
		var status *statusError
		if !errors.As(err, &status) || status.status != exitFailed || !strings.Contains(out.String(), "its answer cannot be shown") || !strings.HasPrefix(stderr.String(), "kita: its answer cannot be shown: ") {
			t.Errorf("%s of one host: %v, stdout %s, stderr %s", format, err, &out, &stderr)
		}
	}
}

// TestEveryComplaintHasALineOfItsOwn on a terminal, where answers stand, too.
func TestEveryComplaintHasALineOfItsOwn(t *testing.T) {
	hosts := []fleet.Host{{Name: "a", Label: "a"}, {Name: "b", Label: "b"}, {Name: "c", Label: "c"}}
	var terminal bytes.Buffer
	p := &program{name: "kita", out: &terminal, err: &terminal}
	r := request{hosts: hosts, many: true, parallel: 1, timeout: defaultTimeout, format: formatJSON}
	_ = fanOutHosts(t.Context(), p, r, showing[int]{}, func(context.Context, fleet.Host) (int, error) { return 0, errors.New("it is broken") })
	var out bytes.Buffer
	complaints := 0
	for line := range strings.Lines(terminal.String()) {
		if strings.HasPrefix(line, "kita: ") {
			complaints++
			continue
		}
		out.WriteString(line)
	}
	if complaints != len(hosts)+1 || !json.Valid(out.Bytes()) {
		t.Errorf("%s", &terminal)
	}
}
