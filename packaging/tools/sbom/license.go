package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// directories reads what `go list -m -json all` says.
func directories(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	where := map[string]string{}
	for d := json.NewDecoder(f); ; {
		var m struct{ Path, Version, Dir string }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return where, nil
		} else if err != nil {
			return nil, err
		}
		where[m.Path+"@"+m.Version] = m.Dir
	}
}

// marks are sentences that a licence has and no other; those that have more to them
// come first.
var marks = []struct {
	id   string
	says []string
}{
	{"Apache-2.0", []string{"apache license version 2.0, january 2004"}},
	{"Apache-2.0", []string{"licensed under the apache license, version 2.0"}},
	{"MPL-2.0", []string{"mozilla public license version 2.0"}},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "endorse or promote products derived"}},
	{"BSD-2-Clause", []string{"redistribution and use in source and binary forms"}},
	{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose"}},
	{"ISC", []string{"permission to use, copy, modify, and distribute this software for any purpose"}},
	{"MIT", []string{"permission is hereby granted, free of charge, to any person obtaining a copy"}},
}

// licensesIn are the SPDX names of the licences that the files in a module's directory
// have, sorted.
func licensesIn(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "LICEN[SC]E*"))
	more, _ := filepath.Glob(filepath.Join(dir, "COPYING*"))
	found := map[string]bool{}
	for _, name := range append(names, more...) {
		if content, err := os.ReadFile(name); err == nil {
			maps.Copy(found, licensesOf(string(content)))
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func licensesOf(text string) map[string]bool {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	found := map[string]bool{}
	for _, m := range marks {
		all := true
		for _, sentence := range m.says {
			all = all && strings.Contains(text, sentence)
		}
		if all && !(m.id == "BSD-2-Clause" && found["BSD-3-Clause"]) {
			found[m.id] = true
		}
	}
	return found
}
