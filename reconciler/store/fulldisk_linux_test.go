package store

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"kita/reconciler/smalldisk"
	"kita/spec"
)

func TestFullDisk(t *testing.T) { smalldisk.Run(t, "128k", onFullDisk) }

func onFullDisk(t *testing.T, base string) {
	d := newDirs(t)
	d.state, d.run = filepath.Join(base, "state"), filepath.Join(base, "run")
	big := map[string]spec.Desired{
		"web": {Run: spec.Running, Generation: 2, By: strings.Repeat("x", 12<<10)},
		"db":  {Run: spec.Running, Generation: 2, By: strings.Repeat("y", 12<<10)},
	}

	s := d.open(t, "b")
	mustSet(t, s, map[string]spec.Desired{"web": running(1)})
	if err := s.SaveFacts("web", Facts{Data: []byte(`"old"`)}); err != nil {
		t.Fatal(err)
	}

	whole := t // the store lives longer than a subtest
	t.Run("old state is whole", func(t *testing.T) {
		free := smalldisk.Fill(t, base)
		defer free()
		before, err := os.ReadFile(d.journal())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.SetDesired(t.Context(), big); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("set: %v", err)
			}
		}
		// What has its place is saved all the same.
		if err := s.SaveFacts("web", Facts{Data: []byte(`"saved"`)}); err != nil {
			t.Fatalf("facts: %v", err)
		}
		large := []byte(`"` + strings.Repeat("z", 12<<10) + `"`)
		for _, name := range []string{"web", "db"} {
			if err := s.SaveFacts(name, Facts{Data: large}); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("facts: %v", err)
			}
		}
		if s.Err() == nil {
			t.Error("not reported")
		}
		if after, err := os.ReadFile(d.journal()); err != nil || string(after) != string(before) {
			t.Errorf("the journal is now\n%s(%v)", after, err)
		}
	})
	t.Run("a server starts", func(t *testing.T) {
		mustClose(t, s)
		// A crash during an append, too.
		appendTo(t, d.journal(), []byte("torn"))
		free := smalldisk.Fill(t, base)
		defer free()
		s = d.open(whole, "b")
		wantDesired(t, s, map[string]spec.Desired{"web": running(1)})
		facts, errs := s.Facts()
		if want := map[string]Facts{"web": {Boot: "b", Data: []byte(`"saved"`)}}; !reflect.DeepEqual(facts, want) || errs != nil {
			t.Errorf("facts %v, %v", facts, errs)
		}
		if err := s.SetDesired(t.Context(), big); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("set: %v", err)
		}
	})
	t.Run("what a killed writer left needs no room", func(t *testing.T) {
		mustClose(t, s)
		info, err := os.Stat(d.factsPath(tableName))
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, d.factsPath(tableName), []byte(strings.Repeat("torn", 200)))
		free := smalldisk.Fill(t, base)
		defer free()
		s = d.open(whole, "b")
		if facts, errs := s.Facts(); string(facts["web"].Data) != `"saved"` || len(errs) != 1 {
			t.Errorf("facts %v, %v", facts, errs)
		}
		for _, data := range []string{`"saved"`, `"again"`, `"saved"`} {
			if err := s.SaveFacts("web", Facts{Data: []byte(data)}); err != nil {
				t.Errorf("save %s: %v", data, err)
			}
		}
		if now, err := os.Stat(d.factsPath(tableName)); err != nil || now.Size() != info.Size() {
			t.Errorf("the table has %d bytes, want %d (%v)", now.Size(), info.Size(), err)
		}
	})
	t.Run("a worn table is used where there is no room for another", func(t *testing.T) {
		s.table.worn = true
		free := smalldisk.Fill(t, base)
		defer free()
		for _, data := range []string{`"again"`, `"saved"`} {
			if err := s.SaveFacts("web", Facts{Data: []byte(data)}); err != nil {
				t.Errorf("save %s: %v", data, err)
			}
		}
	})
	t.Run("room again", func(t *testing.T) {
		mustSet(t, s, big)
		if err := s.SaveFacts("web", Facts{Data: []byte(`"new"`)}); err != nil {
			t.Fatal(err)
		}
		if s.Err() != nil {
			t.Errorf("still reported: %v", s.Err())
		}
		if left, _ := filepath.Glob(filepath.Join(d.run, "children", ".*")); left != nil {
			t.Errorf("left behind: %v", left)
		}
		mustClose(t, s)
		wantDesired(t, d.open(t, "b"), big)
	})
	t.Run("read-only", func(t *testing.T) {
		smalldisk.Remount(t, base, "128k", syscall.MS_RDONLY)
		s := d.open(t, "b")
		wantDesired(t, s, big)
		if s.Err() == nil {
			t.Error("not reported")
		}
		if err := s.SetDesired(t.Context(), map[string]spec.Desired{"web": running(3)}); !errors.Is(err, syscall.EROFS) {
			t.Fatalf("set: %v", err)
		}
		if err := s.SaveFacts("web", Facts{Data: []byte(`"newer"`)}); !errors.Is(err, syscall.EROFS) {
			t.Fatalf("facts: %v", err)
		}
		smalldisk.Remount(t, base, "128k", 0)
		mustSet(t, s, map[string]spec.Desired{"web": running(4)})
		if err := s.SaveFacts("web", Facts{Data: []byte(`"newer"`)}); err != nil {
			t.Fatal(err)
		}
		if s.Err() != nil {
			t.Errorf("still reported: %v", s.Err())
		}
		mustClose(t, s)
		wantDesired(t, d.open(t, "b"), map[string]spec.Desired{"web": running(4), "db": big["db"]})
	})
}
