package main

import (
	"testing"

	"kita/control/controltest"
	"kita/spec"
)

func TestLogsOfOneChildAreItsBytes(t *testing.T) {
	svc := newService()
	svc.Write("web", "one\ntwo\n\xff\x00three", spec.Out)
	server := serveFake(t, svc)
	if status, out, stderr := kita(server.socket, "logs", "web"); status != exitOK || out != "one\ntwo\n\xff\x00three" || stderr != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
	_ = controltest.Started
}
