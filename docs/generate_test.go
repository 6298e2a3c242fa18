package docs

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kita/spec"
)

var update = flag.Bool("update", false, "write what is generated in the documents")

// generated is a place of a document: what stands between these two comments is
// made by `make generate`.
var generated = regexp.MustCompile(`(?s)<!-- generated: ([^>]+) -->\n(.*?)<!-- end of generated -->\n`)

// tables are the generated parts of documents, by document and by name.
func tables() map[string]map[string]string {
	limits := keyNamed(spec.ChildKeys(), "limits")
	return map[string]map[string]string{
		"files.md": {
			"keys of server.yml":     keyTable("", spec.ServerKeys(), "defaults"),
			"keys of a child's file": keyTable("", spec.ChildKeys(), "limits", "output.rotate"),
			"limits on all processes": keyTable("", slices.DeleteFunc(slices.Clone(limits.Keys), func(k spec.Key) bool {
				return len(k.Keys) > 0
			})),
			"limits on each process": limitTable(limits.Keys),
		},
		"hosts.md": {"keys of hosts.yml": keyTable("", spec.HostsKeys())},
	}
}

// TestGeneratedTables compares the tables with the keys; with -update it writes
// them.
func TestGeneratedTables(t *testing.T) {
	for file, want := range tables() {
		text := read(t, file)
		seen := map[string]bool{}
		made := generated.ReplaceAllStringFunc(text, func(part string) string {
			name := generated.FindStringSubmatch(part)[1]
			table, known := want[name]
			if !known {
				t.Errorf("%s: nothing is known of how to generate %q", file, name)
				return part
			}
			if seen[name] {
				t.Errorf("%s: has %q twice", file, name)
			}
			seen[name] = true
			return fmt.Sprintf("<!-- generated: %s -->\n%s<!-- end of generated -->\n", name, table)
		})
		for name := range want {
			if !seen[name] {
				t.Errorf("%s: has no place for %q", file, name)
			}
		}
		if made == text {
			continue
		}
		if !*update {
			t.Errorf("%s is not what the keys say: run `make generate`", file)
			continue
		}
		if err := os.WriteFile(file, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// keyTable has a row for each key and those below it, but for the ones below a
// leaf.
func keyTable(prefix string, keys []spec.Key, leaves ...string) string {
	var b strings.Builder
	b.WriteString("| key | type | what it is | default |\n|---|---|---|---|\n")
	keyRows(&b, prefix, keys, leaves)
	return b.String()
}

func keyRows(b *strings.Builder, prefix string, keys []spec.Key, leaves []string) {
	for _, k := range keys {
		name := prefix + k.Name
		byDefault := k.Default
		if k.Required {
			byDefault = "required"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, k.Type(), sentences(k), byDefault)
		if !slices.Contains(leaves, name) {
			keyRows(b, name+".", k.Fields(), leaves)
		}
	}
}

// sentences are Doc and More; nothing ends a cell but the last word.
func sentences(k spec.Key) string {
	if k.More == "" {
		return k.Doc
	}
	return k.Doc + ". " + k.More
}

// limitTable has the limits that hold for each process, by their unit.
func limitTable(keys []spec.Key) string {
	var units []string
	names := map[string][]string{}
	for _, k := range keys {
		if len(k.Keys) == 0 {
			continue
		}
		_, unit, _ := strings.Cut(k.Doc, ", in ")
		if !slices.Contains(units, unit) {
			units = append(units, unit)
		}
		names[unit] = append(names[unit], "`"+k.Name+"`")
	}
	var b strings.Builder
	b.WriteString("| unit | limits |\n|---|---|\n")
	for _, unit := range units {
		fmt.Fprintf(&b, "| %s | %s |\n", unit, strings.Join(names[unit], " "))
	}
	return b.String()
}

func keyNamed(keys []spec.Key, name string) spec.Key {
	at := slices.IndexFunc(keys, func(k spec.Key) bool { return k.Name == name })
	return keys[at]
}
