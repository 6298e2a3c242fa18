package main

import (
	"strings"

	"github.com/spf13/cobra"

	"kita/spec"
	"kita/spec/schema"
)

func (p *program) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema server|child|hosts", Short: "print the JSON Schema of a file, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of server.yml, of a child's file or of
hosts.yml: with it an editor shows what a key is, completes it and marks what is
wrong. A schema cannot say everything: 'kita validate' does. No server is asked.

An editor finds the schema by a line in the file,

  # yaml-language-server: $schema=schema/child.json

with the path relative to the file, or by its own settings.`,
		Example: `  kita schema child > schema/child.json`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			var names []string
			for _, f := range spec.FileTypes() {
				names = append(names, f.Name)
				if len(args) == 1 && args[0] == f.Name {
					text, err := schema.Of(f)
					if err != nil {
						return err
					}
					_, err = p.out.Write(text)
					return err
				}
			}
			if len(args) == 1 {
				return usagef("%q is no kind of file, give %s", args[0], strings.Join(names, ", "))
			}
			return usagef("the schema of which file? give one of %s", strings.Join(names, ", "))
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var offers []string
			for _, f := range spec.FileTypes() {
				if len(args) == 0 {
					offers = append(offers, f.Name+"\t"+spec.Plain(f.Doc))
				}
			}
			return offers, cobra.ShellCompDirectiveNoFileComp
		},
	}
}
