package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kita/spec"
)

var update = flag.Bool("update", false, "write the schemas")

// TestGeneratedSchemas compares the schemas of the directory schema with the keys;
// with -update it writes them.
func TestGeneratedSchemas(t *testing.T) {
	for _, f := range spec.FileTypes() {
		made, err := Of(f)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("../../schema", f.Name+".json")
		if *update {
			if err := os.WriteFile(file, made, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if there, err := os.ReadFile(file); err != nil || !bytes.Equal(there, made) {
			t.Errorf("schema/%s.json is not what the keys say: run `make generate`: %v", f.Name, err)
		}
	}
}

// compiled are the schemas by the name of the file type, as a validator reads
// them: one that is no legal schema does not compile.
func compiled(t testing.TB) map[string]*jsonschema.Schema {
	t.Helper()
	all := map[string]*jsonschema.Schema{}
	for _, f := range spec.FileTypes() {
		text, err := Of(f)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("mem:///"+f.Name, doc); err != nil {
			t.Fatal(err)
		}
		if all[f.Name], err = c.Compile("mem:///" + f.Name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestSchemasDescribe wants what an editor shows at every key.
func TestSchemasDescribe(t *testing.T) {
	seen := 0
	var walk func(at string, n map[string]any)
	walk = func(at string, n map[string]any) {
		for key, v := range n {
			switch below := v.(type) {
			case map[string]any:
				if key == "properties" {
					for name, p := range below {
						property := p.(map[string]any)
						seen++
						for _, member := range []string{"title", "description", "examples"} {
							if property[member] == nil {
								t.Errorf("%s.%s has no %s", at, name, member)
							}
						}
					}
				}
				walk(at+"."+key, below)
			case []any:
				for _, one := range below {
					if m, ok := one.(map[string]any); ok && key != "examples" {
						walk(at+"."+key, m)
					}
				}
			}
		}
	}
	for _, f := range spec.FileTypes() {
		text, err := Of(f)
		if err != nil {
			t.Fatal(err)
		}
		var n map[string]any
		if err := json.Unmarshal(text, &n); err != nil {
			t.Fatal(err)
		}
		walk(f.Name, n)
	}
	if seen < 150 {
		t.Errorf("only %d keys were looked at", seen)
	}
}
