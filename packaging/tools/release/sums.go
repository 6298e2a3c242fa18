package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sbom has the command write what is in the binary. Like goreleaser's it runs in
// dist.
func (r *releaser) sbom(f facts, s SBOM, binary string) error {
	document, err := f.text(s.Documents[0])
	if err != nil {
		return err
	}
	artifact, err := filepath.Rel(r.Dist, binary)
	if err != nil {
		return err
	}
	names := strings.NewReplacer("$artifact", artifact, "$document", document)
	var args []string
	for _, arg := range s.Args {
		filled, err := f.text(names.Replace(arg))
		if err != nil {
			return err
		}
		args = append(args, filled)
	}
	if err := command(r.Dist, nil, s.Cmd, args...); err != nil {
		return err
	}
	r.made = append(r.made, document)
	return nil
}

// checksums writes one line for each file, as sha256sum -c reads them.
func (r *releaser) checksums() error {
	name, err := r.facts.text(r.Checksum.NameTemplate)
	if err != nil {
		return err
	}
	var lines strings.Builder
	slices.Sort(r.made)
	for _, made := range r.made {
		sum, err := sumOf(filepath.Join(r.Dist, made))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s  %s\n", sum, made)
	}
	return os.WriteFile(filepath.Join(r.Dist, name), []byte(lines.String()), 0o644)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
