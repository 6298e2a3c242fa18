package main

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kita/control"
	"kita/reconciler/history"
	"kita/reconciler/store"
	"kita/spec"
)

// inherit writes h as a version before this one would have, and reads it.
func inherit(t *testing.T, h *handover) (*handover, error) {
	t.Helper()
	l, err := newLetter()
	if err != nil {
		t.Fatal(err)
	}
	// What was written first is replaced, also where it was longer.
	longer := *h
	longer.Failure = strings.Repeat("x", 1000)
	for _, version := range []*handover{&longer, h} {
		if err := l.write(version); err != nil {
			t.Fatal(err)
		}
	}
	// takeHandover closes it.
	t.Setenv(envHandover, strconv.Itoa(l.fd))
	return takeHandover()
}

func TestAHandoverArrivesAsItWasSent(t *testing.T) {
	kept, err := unix.Open(os.DevNull, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(kept)
	sent := &handover{
		Format: handoverFormat, From: "1", Binary: "/bin/kita", Ready: true, StateDir: "/s", RunDir: "/r", Locks: []int{},
		Listeners: []inherited{{keyListen, "127.0.0.1:33889", kept, true}},
		Connections: []control.Handed{{FD: kept, Network: "tcp", Stage: control.StageCommand, Read: []byte("GET"),
			Pending: &spec.Pending{Command: spec.Command{Verb: spec.VerbStop, Child: "a", By: "tcp:10.0.0.1"}, Generation: 7}}},
		History: history.Rest{Lines: []byte("{}\n"), Lost: 2, Seq: 9},
		Files:   &store.FilesSeen{Version: "1", Files: map[string]store.File{"web": {Hash: "abc"}, "db": {Error: "db.yml:1: no"}}},
	}
	got, err := inherit(t, sent)
	if err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, sent)
	}
	if value, set := os.LookupEnv(envHandover); set {
		t.Errorf("children would inherit %s=%s", envHandover, value)
	}
	if flags, err := unix.FcntlInt(uintptr(kept), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("children would inherit descriptor %d: %#x, %v", kept, flags, err)
	}
}

func TestWhatIsNoHandoverIsRefused(t *testing.T) {
	if got, err := inherit(t, &handover{Format: handoverFormat + 1}); err == nil || !strings.Contains(err.Error(), "format") {
		t.Errorf("of another format: %+v, %v", got, err)
	}
	for _, value := range []string{"x", "1", "99999"} {
		t.Setenv(envHandover, value)
		if got, err := takeHandover(); err == nil || !strings.Contains(err.Error(), envHandover) && !strings.Contains(err.Error(), "version before") {
			t.Errorf("%s: %+v, %v", value, got, err)
		}
	}
	os.Unsetenv(envHandover)
	if got, err := takeHandover(); got != nil || err != nil {
		t.Errorf("without one: %+v, %v", got, err)
	}
}
