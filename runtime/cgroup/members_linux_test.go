package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"kita/spec"
)

func TestOthersThanOneProcess(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		tree := newTree(t, m)
		l := makeLeaf(t, tree, "web", spec.Resources{})
		if l.Others(1) {
			t.Error("others in an empty group")
		}
		first := start(t, l, "/bin/sleep", "300").Process.Pid
		lives(t, l, 1)
		if l.Others(first) {
			t.Error("others than the only one")
		}
		if !l.Others(first*10) || !l.Others(first/10) {
			t.Error("the only one is taken for another")
		}
		if l.RemoveEmpty() {
			t.Error("a group was removed in which a process lives")
		}
		start(t, l, "/bin/sleep", "300")
		lives(t, l, 2)
		if !l.Others(first) {
			t.Error("two are taken for one")
		}
	})
}

func TestGroupBelowMayHoldOthers(t *testing.T) {
	kinds(t, func(t *testing.T, m machine) {
		l := makeLeaf(t, newTree(t, m), "web", spec.Resources{})
		below := filepath.Join(l.dirs[0].path, "below")
		if err := os.Mkdir(below, 0o755); err != nil {
			t.Fatal(err)
		}
		if !l.Others(1) {
			t.Error("a group below was not noticed")
		}
		if l.RemoveEmpty() {
			t.Error("a group was removed with another below it")
		}
		if err := os.Remove(below); err != nil {
			t.Fatal(err)
		}
		if l.Others(1) || !l.RemoveEmpty() || !l.RemoveEmpty() {
			t.Error("an empty group was not removed")
		}
		if l.Others(1) {
			t.Error("others in a group that is gone")
		}
	})
}
