package main

import (
	"os"
	"path/filepath"
	"strings"
)

// microarchitectures are what goreleaser adds to the name of a build's directory.
var microarchitectures = map[string]string{"amd64": "v1", "arm64": "v8.0"}

// build makes the binary, in a directory named as goreleaser names it.
func (r *releaser) build(f facts, system, arch string) (string, error) {
	b := r.Builds[0]
	binary := filepath.Join(r.Dist, strings.Join([]string{b.ID, system, arch, microarchitectures[arch]}, "_"), b.Binary)
	args := append([]string{"build"}, b.Flags...)
	for _, flags := range b.Ldflags {
		filled, err := f.text(flags)
		if err != nil {
			return "", err
		}
		args = append(args, "-ldflags="+filled)
	}
	env := append([]string{"GOOS=" + system, "GOARCH=" + arch}, b.Env...)
	if err := command(".", env, "go", append(args, "-o", binary, b.Main)...); err != nil {
		return "", err
	}
	when, err := f.date(b.ModTimestamp)
	if err != nil {
		return "", err
	}
	return binary, os.Chtimes(binary, when, when)
}
