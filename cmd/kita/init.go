package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

const initLong = `Write a starting set of files into DIR, by default this directory:

  server.yml           for this host alone, encrypted, with rotation of output
  children/hello.yml   a child that writes a line every few seconds
  keys/                for public keys, with a note on what belongs there
  schema/              JSON Schemas, by which an editor completes and checks

Every line has a comment. A file that is there is never overwritten: then nothing
is written, and the status is 1. The commands that come next are printed.

  kita init ~/kita`

// initiated is what init has done.
type initiated struct {
	Dir   string   `json:"dir"`
	Files []string `json:"files"`
	// Next are commands for a shell.
	Next []string `json:"next"`
}

func (p *program) initCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "init [DIR]", Short: "write a starting set of files", Long: initLong,
		Args: maxWords(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "" && output != string(formatJSON) {
				return usagef("-o %s: init takes json", output)
			}
			if len(args) > 0 && args[0] == "" {
				return usagef("DIR is empty, leave it out for this directory")
			}
			dir, err := filepath.Abs(strings.Join(args, ""))
			if err != nil {
				return fmt.Errorf("cannot tell where to write: %w", err)
			}
			set, err := starter(dir)
			if err != nil {
				return err
			}
			if err := set.write(dir); err != nil {
				return err
			}
			did := initiated{Dir: dir, Next: nextCommands(filepath.Join(dir, "server.yml"))}
			for _, f := range set {
				did.Files = append(did.Files, filepath.Join(dir, f.name))
			}
			if output != "" {
				return p.printJSON(did)
			}
			return p.showInitiated(did)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	p.registerJSON(c, &output)
	return c
}

func (p *program) showInitiated(did initiated) error {
	lines := []string{"written:"}
	for _, file := range did.Files {
		lines = append(lines, "  "+file)
	}
	lines = append(lines, "", "next, the last in another terminal:")
	for _, command := range did.Next {
		lines = append(lines, "  "+command)
	}
	return writeLines(p.out, lines, "")
}

// nextCommands use the default directories of whoever runs them, so that the client
// finds the server.
func nextCommands(server string) []string {
	kita := shellWord(callable())
	return []string{
		kita + " validate " + shellWord(server),
		kita + " serve " + shellWord(server),
		kita + " logs hello --follow",
	}
}

// callable is kita where that is this program, else the path of this program.
func callable() string {
	self, err := os.Executable()
	if err != nil {
		return "kita"
	}
	if found, err := exec.LookPath("kita"); err == nil {
		a, aErr := os.Stat(found)
		b, bErr := os.Stat(self)
		if aErr == nil && bErr == nil && os.SameFile(a, b) {
			return "kita"
		}
	}
	return self
}

// shellWord is word as a shell reads it.
func shellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
