package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commandTree is what `kita --help` and the help of each command tell.
type commandTree struct {
	listed []string                   // the commands of `kita --help`
	flags  map[string]map[string]bool // by command: -f and --follow
}

// unlisted are commands that exist and are not in `kita --help`.
var unlisted = []string{"proxy"}

func newCommandTree(t *testing.T) commandTree {
	t.Helper()
	help := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), filepath.Join(world.bin, "kita"), append(args, "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("kita %s --help: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	tree := commandTree{flags: map[string]map[string]bool{}}
	_, list, _ := strings.Cut(help(), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(list, -1) {
		tree.listed = append(tree.listed, m[1])
	}
	if len(tree.listed) < 10 {
		t.Fatalf("kita --help lists %q", tree.listed)
	}
	for _, command := range slices.Concat(tree.listed, unlisted) {
		flags := map[string]bool{"-h": true, "--help": true}
		for _, m := range regexp.MustCompile(`(?m)^ +(?:(-[a-zA-Z]), |    )?(--[a-z-]+)`).FindAllStringSubmatch(help(command), -1) {
			flags[m[1]], flags[m[2]] = true, true
		}
		tree.flags[command] = flags
	}
	return tree
}

// check has what is wrong with a command line of a text: `start CHILD`,
// `logs web -f --tail 20`.
func (tree commandTree) check(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 || strings.Trim(words[0], "…") == "" || words[0] == strings.ToUpper(words[0]) {
		return nil // a place for any command
	}
	flags, ok := tree.flags[words[0]]
	if !ok {
		return fmt.Errorf("there is no kita %s", words[0])
	}
	for _, word := range words[1:] {
		flag, _, _ := strings.Cut(word, "=")
		if strings.HasPrefix(flag, "-") && !flags[flag] {
			return fmt.Errorf("kita %s has no flag %s", words[0], flag)
		}
	}
	return nil
}

// foreignFlags are those of other programs that the texts speak of.
var foreignFlags = []string{"--mount-proc", "--password", "--token"}

var inlineCode = regexp.MustCompile("`([^`\n]+)`")

// TestDocsNameWhatExists: each `kita …` of the texts is a command with these
// flags, each `--flag` is one of some command, and each command is in the table
// of docs/commands.md.
func TestDocsNameWhatExists(t *testing.T) {
	t.Parallel()
	tree := newCommandTree(t)
	everyFlag := map[string]bool{}
	for _, flags := range tree.flags {
		maps.Copy(everyFlag, flags)
	}
	files, err := filepath.Glob(filepath.Join(world.module, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, file := range append(files, filepath.Join(world.module, "README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, span := range inlineCode.FindAllStringSubmatch(line, -1) {
				var err error
				flag, _, _ := strings.Cut(strings.Fields(span[1] + " .")[0], "=")
				if command, ok := strings.CutPrefix(span[1], "kita "); ok {
					err = tree.check(command)
				} else if regexp.MustCompile(`^--[a-z][a-z-]+$`).MatchString(flag) && !everyFlag[flag] && !slices.Contains(foreignFlags, flag) {
					err = fmt.Errorf("no command has the flag %s", flag)
				} else {
					continue
				}
				looked++
				if err != nil {
					t.Errorf("%s:%d: `%s`: %v", filepath.Base(file), i+1, span[1], err)
				}
			}
		}
	}
	if looked < 30 {
		t.Errorf("looked at %d commands and flags, want all", looked)
	}

	commands, err := os.ReadFile(filepath.Join(world.module, "docs/commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(commands), "\n## ")
	var documented []string
	for _, row := range regexp.MustCompile(`(?m)^\| (.+?[^\\]) \|`).FindAllStringSubmatch(table, -1) {
		for _, span := range inlineCode.FindAllStringSubmatch(row[1], -1) {
			if err := tree.check(strings.ReplaceAll(span[1], `\|`, " ")); err != nil {
				t.Errorf("commands.md: `%s`: %v", span[1], err)
			}
			documented = append(documented, strings.Fields(span[1])[0])
		}
	}
	for _, command := range slices.Concat(tree.listed, unlisted) {
		if !slices.Contains(documented, command) {
			t.Errorf("the table of commands.md lacks %s", command)
		}
	}
}

func TestCommandsThatDoNotExistAreSeen(t *testing.T) {
	t.Parallel()
	tree := newCommandTree(t)
	for line, want := range map[string]string{
		"logs web -f --tail=20":  "",
		"… with KEY":             "",
		"COMMAND CHILD":          "",
		"strat web":              "there is no kita strat",
		"start web --tail 3":     "kita start has no flag --tail",
		"validate FILE --serial": "kita validate has no flag --serial",
	} {
		got := ""
		if err := tree.check(line); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
