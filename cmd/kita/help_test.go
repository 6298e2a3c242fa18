package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A text that could not be written was not shown.
func TestHelpThatCannotBeWrittenIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full:", err)
	}
	defer full.Close()
	for _, line := range []string{"help", "help check", "--help", "check --help", "completion bash", "version"} {
		var complaints bytes.Buffer
		status := run(append([]string{"kita"}, strings.Fields(line)...), full, &complaints)
		if status != exitFailed || !strings.Contains(complaints.String(), "no space left on device") {
			t.Errorf("%s: status %d, %q", line, status, &complaints)
		}
	}
}

// A host that is in the list already is not offered once more.
func TestCompletionOffersAHostOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts.yml")
	if err := os.WriteFile(file, []byte("hosts: {w1: {address: 127.0.0.1}, w2: {address: 127.0.0.2}, w3: {address: 127.0.0.3}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"check", "on"}, {"check", "--on"}} {
		_, out, _ := kita("", append(append([]string{"__complete"}, append([]string{words[0], "--hosts-file", file}, words[1:]...)...), "w1,w3,")...)
		if !strings.HasPrefix(out, "w1,w3,w2\n:") {
			t.Errorf("%v: offered %q", words, out)
		}
	}
}
