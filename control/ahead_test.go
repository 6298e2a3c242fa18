package control

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// A client over SSH that sends on and on while it is answered is sent away: what
// it sends would stay in this process.
func TestSendingAheadIsBounded(t *testing.T) {
	h := newSSHHouse(t, Options{})
	client := h.mustLogin(t, h.admit(t, "ops"))
	nc, err := through{client}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(nc, "GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := io.ReadAtLeast(nc, make([]byte, 4096), 12); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(nc, bytes.NewReader(make([]byte, 1<<20))) }()
	if _, err := io.Copy(io.Discard, nc); err != nil {
		t.Errorf("the watch goes on: %v", err)
	}
	// What is within bounds is the next request.
	if nc, err = (through{client}).Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(nc, strings.Repeat(getHealth, 100))
	answers := make([]byte, 0, 1<<20)
	for strings.Count(string(answers), "HTTP/1.1 200") < 100 {
		n, err := nc.Read(answers[len(answers):cap(answers)])
		if err != nil {
			t.Fatal(err)
		}
		answers = answers[:len(answers)+n]
	}
}
