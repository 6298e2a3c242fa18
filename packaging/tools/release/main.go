package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	config := flag.String("config", ".goreleaser.yaml", "goreleaser's configuration `FILE`")
	dist := flag.String("dist", "", "build into `DIR` instead of the configured one")
	version := flag.String("version", "", "build this `VERSION` instead of a snapshot's")
	only := flag.String("only", "", "build these `TARGETS` alone, as in linux_amd64,linux_arm64")
	flag.Parse()
	if err := release(*config, *dist, *version, *only); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release(config, dist, version, only string) error {
	c, err := loadConfig(config)
	if err != nil {
		return err
	}
	if dist != "" {
		c.Dist = dist
	}
	f, err := gather(c, version)
	if err != nil {
		return err
	}
	for _, hook := range c.Before.Hooks {
		words := strings.Fields(hook)
		if err := command(".", nil, words[0], words[1:]...); err != nil {
			return fmt.Errorf("before.hooks: %w", err)
		}
	}
	if err := os.RemoveAll(c.Dist); err != nil {
		return err
	}
	targets := c.Builds[0].Targets
	if only != "" {
		wanted := strings.Split(only, ",")
		targets = slices.DeleteFunc(slices.Clone(targets), func(t string) bool { return !slices.Contains(wanted, t) })
	}
	r := &releaser{Config: c, facts: f}
	for _, target := range targets {
		if err := r.target(target); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
	}
	return r.checksums()
}

// releaser builds for one target after the other, and notes what came of it.
type releaser struct {
	*Config
	facts facts
	// made has the names of the files in dist that are given away.
	made []string
}

func (r *releaser) target(target string) error {
	system, arch, ok := strings.Cut(target, "_")
	if !ok {
		return fmt.Errorf("is no target, write as in linux_amd64")
	}
	f := r.facts.with(facts{"Os": system, "Arch": arch})
	binary, err := r.build(f, system, arch)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	for _, a := range r.Archives {
		if err := r.archive(f, a, binary); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	for _, s := range r.SBOMs {
		if err := r.sbom(f, s, binary); err != nil {
			return fmt.Errorf("sbom: %w", err)
		}
	}
	if system != "linux" {
		return nil
	}
	for _, p := range r.NFPMs {
		for _, format := range p.Formats {
			if err := r.pack(f, p, format, arch, binary); err != nil {
				return fmt.Errorf("%s: %w", format, err)
			}
		}
	}
	return nil
}

// command runs a program; what it says is its error's text.
func command(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
