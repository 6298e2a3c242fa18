package main

import (
	"errors"
	"strings"

	"kita/spec"
)

// fileErrors are the errors of a configuration file in err, or nil.
func fileErrors(err error) spec.FileErrors {
	var files spec.FileErrors
	if errors.As(err, &files) {
		return files
	}
	return nil
}

// errorLines is err as people read it, one thing a line.
func errorLines(err error) []string {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return []string{"failed"}
	}
	return lines
}
