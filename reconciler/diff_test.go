package reconciler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kita/spec"
)

func TestOnlyWhatARestartAppliesMakesAChildStale(t *testing.T) {
	w := newWorld(t, "", map[string]string{"web": "command: x\n"})
	w.mustServe()
	w.want(spec.VerbStart, "web", "")
	for text, stale := range map[string]bool{
		"command: x\nstop: {grace: 20s}\n":          false,
		"command: x\nrestart: always\n":             false,
		"command: y\n":                              true,
		"command: x\nhooks: [{prehook: stop db}]\n": true,
		"command: x\n":                              false,
	} {
		w.write("web", text)
		w.Refresh()
		if v, _ := w.Get("web"); v.Stale != stale {
			t.Errorf("%q: stale is %v", text, v.Stale)
		}
	}
}

func TestDiffSaysHowEachChildStands(t *testing.T) {
	w := newWorld(t, "", map[string]string{
		"broken": plain, "changed": plain, "gone": plain, "hooked": plain, "live": plain, "rests": "command: x --token hunter2\n", "same": plain,
	})
	w.mustServe()
	w.want(spec.VerbStart, spec.All, "")
	w.want(spec.VerbStop, "rests", "")
	// What is written just now is read.
	w.write("broken", "comand: x\n")
	w.write("changed", plain+"env: {PORT: 81}\nstop: {grace: 3s}\n")
	w.write("hooked", plain+"hooks: [{prehook: start none}]\n")
	w.write("live", plain+"stop: {grace: 3s}\n")
	w.write("new", plain)
	if err := os.Remove(filepath.Join(w.dir, "children", "gone.yml")); err != nil {
		t.Fatal(err)
	}
	all, err := w.Diff([]string{spec.All})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range all {
		line := d.Child + " " + string(d.State)
		if (d.PID != 0) == (d.Command != "") {
			t.Errorf("%s: PID %d, command %q", d.Child, d.PID, d.Command)
		}
		for _, f := range d.Differences {
			line += " " + f.Field
		}
		if d.Error != "" {
			line += ": " + strings.ReplaceAll(d.Error, w.dir, "")
		}
		got = append(got, line)
	}
	want := []string{
		`broken broken: /children/broken.yml:1: comand: unknown key, did you mean command?`,
		`changed changed env.PORT stop.grace`, `gone gone`, `hooked broken: the prehook of hooked, "start none", names none`,
		`live unchanged stop.grace`, `new new`, `rests not-running`, `same unchanged`,
	}
	for i := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			break
		}
	}
	if one, err := w.Diff([]string{"rests"}); err != nil || len(one) != 1 || one[0].Command != "x --token "+spec.Mask {
		t.Errorf("of one: %+v, %v", one, err)
	}
	if _, err := w.Diff([]string{"nobody"}); err == nil || !strings.Contains(err.Error(), "no file nobody.yml") {
		t.Errorf("of nobody: %v", err)
	}
}
