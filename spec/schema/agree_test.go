package schema

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"kita/spec"
)

// parse is what spec says of a file.
func parse(fileType, text string) error {
	var err error
	switch fileType {
	case "server":
		_, err = spec.ParseServer("/s/server.yml", []byte(text))
	case "hosts":
		_, err = spec.ParseHosts("/s/hosts.yml", []byte(text))
	default:
		_, err = spec.ParseChild("/lp", "/lp/web.yml", []byte(text), withOutputDir)
	}
	return err
}

// withOutputDir lets `output: auto` be: a schema knows nothing of server.yml.
var withOutputDir = func() *spec.Defaults {
	s, err := spec.ParseServer("/s/server.yml", []byte("output_dir: /o"))
	if err != nil {
		panic(err)
	}
	return s.Defaults
}()

// values are what tools make of a file: some know the numbers and dates of YAML
// 1.1, as the library does, others those of JSON alone.
func values(t testing.TB, text string) []any {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	if len(node.Content) == 0 {
		return []any{nil}
	}
	var decoded any
	if err := node.Decode(&decoded); err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return []any{Value(node.Content[0]), plainJSON(decoded)}
}

func plainJSON(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.String()
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	case []any:
		for i := range v {
			v[i] = plainJSON(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainJSON(v[k])
		}
	case map[any]any:
		named := map[string]any{}
		for k, one := range v {
			named[fmt.Sprint(k)] = plainJSON(one)
		}
		return named
	}
	return v
}

// accepts wants the schema to accept what spec accepts; it tells whether that does.
func accepts(t *testing.T, schemas map[string]*jsonschema.Schema, fileType, text string) bool {
	t.Helper()
	if parse(fileType, text) != nil {
		return false
	}
	for _, v := range values(t, text) {
		if err := schemas[fileType].Validate(v); err != nil {
			t.Errorf("a legal %s file:\n%s\nis refused: %v", fileType, text, err)
		}
	}
	return true
}

// TestSchemasAcceptTheExamples has the files that users copy.
func TestSchemasAcceptTheExamples(t *testing.T) {
	schemas, seen := compiled(t), 0
	err := filepath.WalkDir("../../examples", func(path string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || d.IsDir() || ext != ".yml" && ext != ".yaml" {
			return err
		}
		line, schema := schemaLine(t, path)
		if schema == "" {
			// Only other programs' files have none of ours.
			if dir := filepath.Base(filepath.Dir(path)); dir != "ci" && dir != "prometheus" {
				t.Errorf("%s does not name its schema", path)
			}
			return nil
		}
		seen++
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), line)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if !accepts(t, schemas, schema, string(read(t, path))) {
			t.Errorf("%s is no legal %s file", path, schema)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 9 {
		t.Errorf("only %d examples name their schema", seen)
	}
}

var schemaComment = regexp.MustCompile(`(?m)^# yaml-language-server: \$schema=(\S*/(\w+)\.json)$`)

// schemaLine is the path of the schema that a file names, and which one that is.
func schemaLine(t *testing.T, path string) (line, name string) {
	t.Helper()
	m := schemaComment.FindStringSubmatch(string(read(t, path)))
	if m == nil {
		return "", ""
	}
	return m[1], m[2]
}

// TestSchemasAcceptWhatIsLegal has every text of spec's own tests, and of all
// tests by script, that spec accepts.
func TestSchemasAcceptWhatIsLegal(t *testing.T) {
	schemas := compiled(t)
	texts := append(literals(t, "../*_test.go"), scripts(t)...)
	count := map[string]int{}
	for _, text := range texts {
		for _, f := range spec.FileTypes() {
			if accepts(t, schemas, f.Name, text) {
				count[f.Name]++
			}
		}
	}
	t.Logf("legal, of %d texts: %v", len(texts), count)
	for _, f := range spec.FileTypes() {
		if count[f.Name] < 10 || f.Name == "child" && count[f.Name] < 200 {
			t.Errorf("only %d legal %s files were found", count[f.Name], f.Name)
		}
	}
}

// literals are the texts in the source of tests, each also after the line that the
// tables put before many of them.
func literals(t *testing.T, pattern string) []string {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	var texts []string
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text, "command: ./run\n"+text)
			}
			return true
		})
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

var scriptFile = regexp.MustCompile(`(?ms)^-- (\S+\.ya?ml) --\n(.*?)(?:^-- |\z)`)

// scripts are the YAML files in the scripts of the end-to-end tests.
func scripts(t *testing.T) []string {
	files, err := filepath.Glob("../../e2e/testdata/script/*.txtar")
	if err != nil || len(files) < 50 {
		t.Fatal(err, len(files))
	}
	var texts []string
	for _, file := range files {
		rest := string(read(t, file))
		for {
			m := scriptFile.FindStringSubmatchIndex(rest)
			if m == nil {
				break
			}
			texts = append(texts, rest[m[4]:m[5]])
			rest = rest[m[5]:]
		}
	}
	return texts
}

// TestSchemasAcceptFilesOfExamples makes files of the keys' own examples and
// defaults.
func TestSchemasAcceptFilesOfExamples(t *testing.T) {
	schemas := compiled(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, f := range spec.FileTypes() {
		legal := 0
		const files = 1500
		for range files {
			text := randomMapping(random, f.Keys, nil, "")
			if accepts(t, schemas, f.Name, text) {
				legal++
			}
		}
		t.Logf("%s: %d of %d files are legal", f.Name, legal, files)
		if legal < files/5 {
			t.Errorf("%s: only %d of %d files are legal", f.Name, legal, files)
		}
		if t.Failed() {
			return
		}
	}
}

// randomMapping has some of the keys, each with its example, its default, or with
// some of the keys below.
func randomMapping(random *rand.Rand, keys []spec.Key, oneOf []string, indent string) string {
	var lines strings.Builder
	only := ""
	if len(oneOf) > 0 {
		only = oneOf[random.IntN(len(oneOf))]
	}
	chance := 1 + random.IntN(3)
	for i := range keys {
		k := &keys[i]
		wanted := random.IntN(4) < chance
		if slices.Contains(oneOf, k.Name) {
			wanted = k.Name == only
		}
		if wanted || k.Required {
			lines.WriteString(indent + randomKey(random, k, indent) + "\n")
		}
	}
	return lines.String()
}

func randomKey(random *rand.Rand, k *spec.Key, indent string) string {
	below := indent + "  "
	block := func(keys []spec.Key, oneOf []string, indent string) string {
		return strings.TrimRight(randomMapping(random, keys, oneOf, indent), "\n")
	}
	switch text, literal := k.Literal(); {
	case random.IntN(3) == 0 && literal:
		return k.Name + ": " + text
	case random.IntN(3) == 0 && len(k.Values) > 0:
		return k.Name + ": " + k.Values[random.IntN(len(k.Values))]
	case random.IntN(3) == 0 && len(k.Words) > 0:
		return k.Name + ": " + k.Words[random.IntN(len(k.Words))]
	case random.IntN(2) == 0 && k.Keys != nil:
		if lines := block(k.Keys, k.OneOf, below); lines != "" {
			return k.Name + ":\n" + lines
		}
		return k.Name + ": {}"
	case random.IntN(2) == 0 && k.Element != nil && k.Element.Keys != nil:
		if lines := block(k.Element.Keys, k.Element.OneOf, below+"  "); lines != "" {
			return k.Name + ":\n" + below + "- " + strings.TrimLeft(lines, " ")
		}
	case random.IntN(2) == 0 && k.Value != nil && k.Value.Keys != nil:
		if lines := block(k.Value.Keys, nil, below+"  "); lines != "" {
			return k.Name + ":\n" + below + "some:\n" + lines
		}
	}
	return k.Example
}

// TestSchemasRefuseBrokenFiles has files with one mistake each: both the schema and
// the parser see it.
func TestSchemasRefuseBrokenFiles(t *testing.T) {
	schemas := compiled(t)
	files, err := filepath.Glob("testdata/broken/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		fileType, _, _ := strings.Cut(filepath.Base(file), "-")
		text := string(read(t, file))
		err := parse(fileType, text)
		if err == nil {
			t.Errorf("%s is legal to the parser", file)
			continue
		}
		if n := strings.Count(err.Error(), "\n"); n > 0 {
			t.Errorf("%s has more than one mistake:\n%v", file, err)
		}
		for _, v := range values(t, text) {
			if schemas[fileType].Validate(v) == nil {
				t.Errorf("%s is legal to the schema", file)
			}
		}
	}
	if len(files) < 40 {
		t.Errorf("only %d broken files", len(files))
	}
}

// TestPatterns tries texts that look like a value of each kind: the schema takes
// what the parser takes, and where a pattern can say it all, no more.
func TestPatterns(t *testing.T) {
	schemas := compiled(t)
	random := rand.New(rand.NewPCG(3, 4))
	for _, tt := range []struct {
		before, after string
		exact         bool
		parts         []string
	}{
		{"stop: {grace: ", "}", true, []string{"1", "0", "5", ".", "d", "h", "m", "s", "ms", "ns", "us", "µs", "+", "-"}},
		{"restart: {backoff: {initial: ", "}}", false, []string{"1ns", "0", "9", "s", "ms", ".", "d"}},
		{"limits: {as: ", "}", true, []string{"1", "0", "9", "k", "K", "M", "i", "B", " ", "unlimited", "-"}},
		{"limits: {nproc: ", "}", true, []string{"1", "0", "9", "unlimited", "B", "-", "+"}},
		{"limits: {cpu: ", "}", false, []string{"1", "0", "9", ".", "unlimited", "-", "+"}},
		{"umask: ", "", false, []string{"0", "2", "7", "8", "o", "0o"}},
		{"stop: {signal: ", "}", true, []string{"SIG", "sig", "Sig", "TERM", "term", "Int", "1", "5", "6", "+", "-", "KILL", "stkflt"}},
		{"restart: ", "", true, []string{"never", "always", "on-failure", "On", "-"}},
		{"nice: ", "", false, []string{"1", "0", "9", "-", "+"}},
		{"repeat: {seconds: 5, action: ", "}", true, []string{"start", "Start", "Try", "Trystart", "stop", "Stop", "re", "START"}},
		{"metrics: {port: 1, path: ", "}", true, []string{"/", "a", "?", "#", " ", "%20", "-"}},
		{"output: {timestamps: ", "}", true, []string{"true", "false", "T", "on"}},
		{"restart: {backoff: {factor: ", "}}", false, []string{"1", "2", ".", "5", "e", "0", "+", "-", "0x", "p"}},
		{"user: ", "", true, []string{"www", "-", "data", ":", "0", " ", "ä"}},
		{"hooks: [{prehook: ", "}]", false, []string{"start", "Stop", " ", "db", ",", "/", "kill", "\t", "all"}},
	} {
		taken := 0
		for range 3000 {
			var value strings.Builder
			for range 1 + random.IntN(4) {
				value.WriteString(tt.parts[random.IntN(len(tt.parts))])
			}
			text := "command: x\n" + tt.before + strconv.Quote(value.String()) + tt.after
			switch {
			case accepts(t, schemas, "child", text):
				taken++
			case tt.exact && schemas["child"].Validate(values(t, text)[0]) == nil:
				t.Errorf("the parser refuses what the schema takes:\n%s", text)
			}
		}
		if taken == 0 {
			t.Errorf("%s: nothing was legal", tt.before)
		}
		if t.Failed() {
			return
		}
	}
}

// The schema knows the signals that spec knows.
func TestSignals(t *testing.T) {
	schemas := compiled(t)
	for n := range 80 {
		name := spec.Signal(n).String()
		if strings.HasPrefix(name, "SIG") && !slices.Contains(signals, strings.TrimPrefix(name, "SIG")) {
			t.Errorf("%s is not in the schema", name)
		}
		accepts(t, schemas, "child", fmt.Sprintf("command: x\nstop: {signal: %d}", n))
	}
	for _, name := range signals {
		if !accepts(t, schemas, "child", "command: x\nstop: {signal: "+name+"}") {
			t.Errorf("%s is not known to spec", name)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
