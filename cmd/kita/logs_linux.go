package main

import (
	"context"

	"kita/spec"
)

// Logs refuses: nothing reads the output of children yet.
func (s service) Logs(context.Context, spec.LogRequest, func(string) bool, func(spec.LogChunk) error) error {
	return noOutput("logs")
}

// Output has nothing to show yet.
func (s service) Output(name string) ([]spec.OutputFile, error) {
	return nil, noOutput("output of " + name)
}

// Rotate refuses: nothing rotates yet.
func (s service) Rotate(context.Context, string) ([]spec.Archive, error) {
	return nil, noOutput("rotate")
}

func noOutput(what string) error {
	return spec.Refuse(spec.Unavailable, "", "", "%s: this server does not look after output files", what)
}
