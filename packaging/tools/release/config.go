package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.yaml.in/yaml/v3"
)

// Config is what is carried out of goreleaser's configuration.
type Config struct {
	Version     int
	ProjectName string `yaml:"project_name"`
	Dist        string
	Before      struct{ Hooks []string }
	Builds      []Build
	Archives    []Archive
	NFPMs       []Package `yaml:"nfpms"`
	SBOMs       []SBOM    `yaml:"sboms"`
	Checksum    struct {
		NameTemplate string `yaml:"name_template"`
		Algorithm    string
	}
	Snapshot struct {
		VersionTemplate string `yaml:"version_template"`
	}
	// Neither concerns a snapshot.
	Changelog, Release struct{ Disable bool }
}

// Build makes one binary for each target.
type Build struct {
	ID, Main, Binary    string
	Env, Flags, Ldflags []string
	Targets             []string
	ModTimestamp        string `yaml:"mod_timestamp"`
}

// Archive is a tar.gz for each target.
type Archive struct {
	ID              string
	Formats         []string
	NameTemplate    string   `yaml:"name_template"`
	WrapInDirectory bool     `yaml:"wrap_in_directory"`
	BuildsInfo      FileInfo `yaml:"builds_info"`
	Files           []File
}

// File is a pattern of files; Dst is the directory they come to, with the
// directories of their own path where there is none.
type File struct {
	Src, Dst string
	Info     FileInfo
}

// FileInfo is who owns a file, what its mode is and how old it is.
type FileInfo struct {
	Owner, Group string
	Mode         fs.FileMode
	MTime        string `yaml:"mtime"`
}

// Package is one for each Linux target and format.
type Package struct {
	ID                           string
	PackageName                  string `yaml:"package_name"`
	FileNameTemplate             string `yaml:"file_name_template"`
	Formats                      []string
	Bindir                       string
	Maintainer, Vendor, Homepage string
	Section, Description         string
	License                      string
	Umask                        fs.FileMode
	MTime                        string `yaml:"mtime"`
	Scripts                      struct{ PreInstall, PostInstall, PreRemove, PostRemove string }
	RPM                          struct{ Summary, BuildHost, Group string }
	Contents                     []Content
}

// Content is a file or a directory of a package.
type Content struct {
	Src, Dst, Type, Packager string
	FileInfo                 FileInfo `yaml:"file_info"`
}

// SBOM is a command that writes a document for each binary.
type SBOM struct {
	ID, Artifacts, Cmd string
	Args, Documents    []string
}

// loadConfig reads the file and refuses what would not be carried out.
func loadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var c Config
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
		}
	}
	refuse(c.Version != 2, "version %d is not 2", c.Version)
	refuse(len(c.Builds) != 1, "%d builds, this program knows one", len(c.Builds))
	refuse(c.Checksum.Algorithm != "sha256", "checksum.algorithm is %q, this program knows sha256", c.Checksum.Algorithm)
	refuse(!c.Release.Disable || !c.Changelog.Disable, "release and changelog are for a snapshot disabled")
	for _, a := range c.Archives {
		refuse(len(a.Formats) != 1 || a.Formats[0] != "tar.gz", "archives.formats is %v, this program knows tar.gz", a.Formats)
		refuse(!a.WrapInDirectory, "archives.wrap_in_directory must be true")
	}
	for _, s := range c.SBOMs {
		refuse(s.Artifacts != "binary" || len(s.Documents) != 1, "sboms: this program knows one document for each binary")
	}
	return &c, errors.Join(errs...)
}
