//go:build linux

package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	w := testWorld(t)
	for _, tt := range []struct {
		words  string
		status int
		want   string
	}{
		{"-n 0", 2, "-n is 0"},
		{"-n -5", 2, "-n is -5"},
		{"-rounds 0", 2, "-rounds is 0"},
		{"-idle 0s", 2, "-idle is 0s"},
		{"-only (", 2, "-only: "},
		{"-build", 2, "-build needs -bin"},
		{"extra", 2, `"extra" is no flag`},
		{"-build -bin programs", 1, "within the module kita"},
	} {
		t.Run(tt.words, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), w.bin("bench"), strings.Fields(tt.words)...)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.ExitCode() != tt.status || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v, want status %d and %q: %s", err, tt.status, tt.want, out)
			}
		})
	}
}
