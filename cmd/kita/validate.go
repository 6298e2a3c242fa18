package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

const validateLong = `Check configuration files, without a server.

A file called server.yml or server.yaml is checked together with every child
file of its load paths, hosts.yml or hosts.yaml as the names of hosts, any other
file as a child file. Without a FILE the server.yml is checked that 'kita serve'
would find.

  kita validate /etc/kita/server.yml
  kita validate --server server.yml children/web.yml children/db.yml
  kita validate --as web.yml - < web.yml

--server FILE is for child files by themselves, as pre-commit names those that
have changed: FILE is their server's file, whatever it is called. Its 'defaults'
hold for them, and their hooks are looked up in its load paths.

Mistakes are printed as FILE:LINE: KEY: what is wrong, and what to write instead.
Warnings are of what is legal and seldom meant: a port that is open to
everybody, or root's to every user of the host, a disk budget that one file fills,
a user, directory or program that this host has not. With --strict they count.

Exit status: 0 no mistake, 1 mistakes or, with --strict, warnings, 2 wrong use.`

// validateFlags are those of the command.
type validateFlags struct {
	server, as, output string
	strict             bool
}

func (p *program) validateCommand() *cobra.Command {
	var f validateFlags
	c := &cobra.Command{
		Use:   "validate [FILE...]",
		Short: "check server.yml, child files and hosts.yml, without a server",
		Long:  validateLong,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c, args); err != nil {
				return err
			}
			v := validation{seen: map[string]bool{}, uid: p.uid}
			if err := v.run(f, args, c.InOrStdin()); err != nil {
				return err
			}
			return p.reportValidation(v, f)
		},
	}
	p.registerJSON(c, &f.output)
	c.Flags().StringVar(&f.server, "server", "", "the server.yml whose defaults and load paths hold for the child files")
	c.Flags().StringVar(&f.as, "as", "", "the `NAME` of the file that is read from standard input, as -")
	c.Flags().BoolVar(&f.strict, "strict", false, "warnings count as mistakes")
	return c
}

func (f validateFlags) check(c *cobra.Command, args []string) error {
	if f.output != "" && f.output != string(formatJSON) {
		return usagef("-o %s: validate takes json", f.output)
	}
	stdin := 0
	for _, word := range args {
		if word == "-" {
			stdin++
		} else if _, err := os.Lstat(word); err != nil && isPlaceWord(word) {
			return usagef("%q: validate looks at files of this host and asks no server, give it FILEs alone", word)
		}
	}
	switch {
	case stdin > 1:
		return usagef("- is standard input, and can be read once")
	case stdin == 1 && f.as == "":
		return usagef("- needs --as NAME: server.yml, hosts.yml, or NAME.yml for the child NAME")
	case stdin == 0 && c.Flags().Changed("as"):
		return usagef("--as names what is read from standard input, which no - asks for")
	}
	return nil
}

// isPlaceWord tells a word that says whom to ask, in commands that ask.
func isPlaceWord(word string) bool {
	switch word {
	case "on", "On", "with", "With":
		return true
	}
	return false
}

func (p *program) reportValidation(v validation, f validateFlags) error {
	mistakes, warnings := v.count()
	status := exitOK
	if mistakes > 0 || f.strict && warnings > 0 {
		status = exitFailed
	}
	if f.output != "" {
		if err := p.printJSON(v.findings); err != nil {
			return err
		}
		return withStatus(status)
	}
	for _, found := range v.findings {
		if found.Severity == warning {
			p.notice("warning: " + found.text())
		} else {
			fmt.Fprintln(p.err, printable(found.text()))
		}
	}
	if mistakes > 0 {
		return withStatus(status)
	}
	result := "all good"
	if warnings > 0 {
		result = "no mistakes, " + counted(warnings, "warning")
	}
	if _, err := fmt.Fprintf(p.out, "%s checked, %s\n", counted(v.checked, "file"), result); err != nil {
		return err
	}
	return withStatus(status)
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// readStdin reads a file from standard input, within the bounds of one.
func readStdin(in io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if int64(len(data)) > most {
		return nil, errors.New("read standard input: larger than 1 MiB, which no configuration file may be")
	}
	return data, nil
}
