package docs

import (
	"strings"
	"testing"

	"kita/spec"
)

// TestTheExampleOfHostsIsOne reads what a user copies.
func TestTheExampleOfHostsIsOne(t *testing.T) {
	_, example, _ := strings.Cut(read(t, "hosts.md"), "```yaml\n")
	example, _, found := strings.Cut(example, "```")
	hosts, err := spec.ParseHosts("hosts.md", []byte(example))
	if !found || err != nil || len(hosts.Hosts) != 4 || len(hosts.Groups) != 2 {
		t.Errorf("%+v, %v", hosts, err)
	}
}
