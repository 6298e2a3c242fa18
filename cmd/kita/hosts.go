package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kita/control/fleet"
)

// choose says which hosts are meant by the words after `on`. hosts.yml is read
// only where there are any: without, the server of this host is asked, whatever
// is in the file.
func (r *request) choose(named []string, hostsFile string) error {
	book := new(fleet.Book)
	if len(named) > 0 {
		var err error
		if book, err = openBook(hostsFile); err != nil {
			return err
		}
	} else if hostsFile != "" {
		return usagef("--hosts-file %s: it says what `on` means, and there is no `on`", hostsFile)
	}
	selection, err := book.Select(named)
	if err != nil {
		return &usageError{err}
	}
	r.hosts, r.many = selection.Hosts, selection.Many
	return nil
}

// openBook reads the hosts.yml that is named, else the user's own, which may be
// missing.
func openBook(named string) (*fleet.Book, error) {
	if named == "" {
		return fleet.OpenDefault()
	}
	book, err := fleet.Open(named)
	if err == nil && book.Missing() {
		return nil, usagef("--hosts-file %s: there is no such file", named)
	}
	if err != nil && len(fileErrors(err)) == 0 {
		return nil, fmt.Errorf("--hosts-file: %w", err)
	}
	return book, err
}

// completeHosts offers what hosts.yml names, also after a comma; a broken file
// has nothing to offer.
func (f *flags) completeHosts(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	book, err := openBook(f.hostsFile)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := word[:strings.LastIndexByte(word, ',')+1]
	given := strings.Split(before, ",")
	names := slices.DeleteFunc(book.Names(), func(name string) bool { return !isPlainWord(name) || slices.Contains(given, name) })
	for i := range names {
		names[i] = before + names[i]
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
