package main

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/spec"
)

// completeTimeout is short: a shell waits for the answer at each press of a key.
const completeTimeout = time.Second

// completeWords offers the names of the server's children, then the
// prepositions.
func (p *program) completeWords(verb spec.Verb, f *flags) cobra.CompletionFunc {
	const directive = cobra.ShellCompDirectiveNoFileComp
	return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		takesChild := verb.Changes() || verb == spec.VerbCheck
		if len(args) == 0 && takesChild {
			return p.childNames(c.Context(), verb, *f), directive
		}
		return f.completePlace(c, args, word)
	}
}

// completeChildren offers any number of children, or all of them, until a
// preposition comes.
func (p *program) completeChildren(f *flags) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		offers, directive := f.completePlace(c, args, word)
		if slices.ContainsFunc(args, func(word string) bool { return word == "on" || word == "On" || word == "with" || word == "With" }) {
			return offers, directive
		}
		names := p.childNames(c.Context(), spec.VerbStop, *f)
		if len(args) == 0 {
			return names, directive
		}
		more := slices.DeleteFunc(names, func(offer string) bool {
			name, _, _ := strings.Cut(offer, "\t")
			return name == spec.All || slices.Contains(args, name)
		})
		if slices.Contains(args, spec.All) {
			more = nil
		}
		return append(more, offers...), directive
	}
}

// completeFormats offers what -o takes, as the help of the command has it.
func completeFormats(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var formats []string
	for _, f := range []format{formatJSON, formatYAML, formatWide} {
		if strings.Contains(c.Flags().Lookup("output").Usage, string(f)) {
			formats = append(formats, string(f))
		}
	}
	return formats, cobra.ShellCompDirectiveNoFileComp
}

// completePlace offers what may follow the children.
func (f *flags) completePlace(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		switch args[len(args)-1] {
		case "on", "On":
			return f.completeHosts(c, args, word)
		case "with", "With":
			return nil, cobra.ShellCompDirectiveDefault
		}
	}
	return []string{"on\thosts to ask", "with\tprivate key file"}, cobra.ShellCompDirectiveNoFileComp
}

// childNames asks the server; without one there is nothing to offer.
func (p *program) childNames(ctx context.Context, verb spec.Verb, f flags) []string {
	// A server of supervisor-rs would take the question for a command.
	if f.legacy {
		return nil
	}
	f.timeout, f.output = completeTimeout, ""
	// Package cobra reads the flags twice when it completes.
	f.with = slices.Compact(f.with)
	r, err := p.request(spec.VerbCheck, nil, f)
	if err != nil {
		return nil
	}
	var names []string
	seen := map[string]bool{}
	offer := func(name, about string) {
		if !seen[name] && isPlainWord(name) {
			seen[name] = true
			names = append(names, name+"\t"+about)
		}
	}
	// A press of a key is no time for a question.
	r.keys = newKeychain(func(string) ([]byte, error) { return nil, errNoTerminal })
	r.ssh = silentDialer()
	// Nor to get to know a server.
	r.hostKeys.Strict, r.hostKeys.Notice = true, func(string) {}
	_ = p.withKeys(ctx, r, func(ctx context.Context) error {
		// However many hosts there are.
		ctx, cancel := context.WithTimeout(ctx, completeTimeout)
		defer cancel()
		for _, result := range ask(ctx, p, r, func(ctx context.Context, c *control.Client) ([]spec.View, error) { return c.List(ctx) }) {
			for _, v := range result.Value {
				offer(v.Name, string(v.Status.Phase))
			}
		}
		return nil
	})
	if verb.Changes() {
		offer(spec.All, "every child")
	}
	return names
}

// isPlainWord tells a word that every shell takes as it is. No other is offered: the
// scripts put it on the command line without quotes, and what a server calls its
// children, $(reboot) for one, is then a command of who asked.
func isPlainWord(word string) bool {
	if word == "" || word[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_+@%:.,/", r)
	})
}
