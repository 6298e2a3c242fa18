package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"kita/spec"
)

func (p *program) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE...]",
		Short: "check server.yml and the child files, without a server",
		Long: `Check configuration files, without a server.

  kita validate /etc/kita/server.yml

A file called server.yml or server.yaml is checked together with every child
file of its load paths, any other file as a child file. Without a FILE the
server.yml is checked that 'kita serve' would find.`,
		RunE: func(_ *cobra.Command, args []string) error {
			for _, word := range args {
				if _, err := os.Lstat(word); err != nil && isPlaceWord(word) {
					return usagef("%q: validate looks at files of this host and asks no server, give it FILEs alone", word)
				}
			}
			v := validation{seen: map[string]bool{}}
			v.run(args)
			return p.reportValidation(v)
		},
	}
}

// isPlaceWord tells a word that says whom to ask, in commands that ask.
func isPlaceWord(word string) bool {
	switch word {
	case "on", "On", "with", "With":
		return true
	}
	return false
}

func (p *program) reportValidation(v validation) error {
	for _, warning := range v.warnings {
		p.complain("", errors.New("warning: "+warning))
	}
	for _, line := range v.problems {
		fmt.Fprintln(p.err, printable(line))
	}
	if len(v.problems) > 0 {
		return withStatus(exitFailed)
	}
	files := "files"
	if v.checked == 1 {
		files = "file"
	}
	_, err := fmt.Fprintf(p.out, "%d %s checked, all good\n", v.checked, files)
	return err
}

// validation collects what is wrong with configuration files.
type validation struct {
	// seen has the absolute paths checked so far.
	seen    map[string]bool
	checked int
	// defaults are those of the last server.yml, in force for the child files
	// named after it.
	defaults           *spec.Defaults
	problems, warnings []string
}

func (v *validation) run(files []string) {
	if len(files) == 0 {
		v.found()
	}
	for _, file := range files {
		switch filepath.Base(file) {
		case "server.yml", "server.yaml":
			v.server(file)
		default:
			v.child(file)
		}
	}
}

// found checks the server.yml that a server would use.
func (v *validation) found() {
	file, warnings, err := spec.FindServerFile("")
	v.warnings = append(v.warnings, warnings...)
	switch {
	case err != nil:
		v.fail(err)
	case file == "":
		v.problems = append(v.problems, "there is no server.yml in /etc/kita or /tmp that can be trusted: name the files to check")
	default:
		v.server(file)
	}
}

func (v *validation) server(file string) {
	if !v.first(file) {
		return
	}
	server, err := spec.LoadServer(file)
	if err != nil {
		v.fail(err)
		return
	}
	v.defaults = server.Defaults
	catalogue := spec.NewCatalogue()
	catalogue.SetPaths(server.LoadPaths, server.Defaults)
	_, problems := catalogue.Refresh()
	for _, problem := range problems {
		if problem.Illegal {
			v.problems = append(v.problems, problem.Message)
		} else {
			v.warnings = append(v.warnings, problem.Message)
		}
	}
	v.named(file, "startup", server.Startup, catalogue)
	if server.ExitWith != "" {
		v.named(file, "exit_with", []string{server.ExitWith}, catalogue)
	}
	for _, entry := range catalogue.Entries() {
		for _, file := range entry.Files {
			v.first(file)
		}
		if entry.Child == nil || entry.Err != nil {
			continue
		}
		if err := spec.CheckHooks(entry.Name, catalogue.Child); err != nil {
			v.problems = append(v.problems, fmt.Sprintf("%s: hooks: %v", entry.Child.File, err))
		}
	}
}

// named warns of children that a key of server.yml names and that have no file.
func (v *validation) named(file, key string, names []string, catalogue *spec.Catalogue) {
	for _, name := range names {
		if catalogue.Lookup(name).Missing {
			v.warnings = append(v.warnings, fmt.Sprintf("%s: %s: no file %s.yml or %s.yaml in the load paths", file, key, name, name))
		}
	}
}

// child checks a file by itself: whether its hooks have a target is known
// only together with the other files.
func (v *validation) child(file string) {
	if !v.first(file) {
		return
	}
	name, ok := spec.NameOf(filepath.Base(file))
	if !ok {
		v.problems = append(v.problems, fmt.Sprintf("%s: it holds no child, the file's name must end in .yml or .yaml and not begin with a dot", file))
		return
	}
	if err := spec.ValidName(name); err != nil {
		v.problems = append(v.problems, fmt.Sprintf("%s: %v", file, err))
		return
	}
	if _, err := spec.LoadChild(filepath.Dir(file), file, v.defaults); err != nil {
		v.fail(err)
	}
}

// first counts a file; false when it was checked before.
func (v *validation) first(file string) bool {
	key, err := filepath.Abs(file)
	if err != nil {
		key = file
	}
	if v.seen[key] {
		return false
	}
	v.seen[key] = true
	v.checked++
	return true
}

func (v *validation) fail(err error) { v.problems = append(v.problems, errorLines(err)...) }
