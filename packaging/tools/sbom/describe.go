package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// describe reads the binary of that version, which the binary tells nobody but who runs
// it; where has the directories of modules, by path@version.
func describe(binary, version string, where map[string]string) (*cdx.BOM, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	stat, err := os.Stat(binary)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	main := &cdx.Component{
		BOMRef: "kita", Type: cdx.ComponentTypeApplication, Name: info.Main.Path, Version: version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: fmt.Sprintf("%x", sum)}},
	}
	var properties []cdx.Property
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "CGO_ENABLED", "-trimpath", "vcs.revision", "vcs.time", "vcs.modified":
			properties = append(properties, cdx.Property{Name: "golang:" + s.Key, Value: s.Value})
		}
	}
	main.Properties = &properties

	goVersion := strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")
	components := []cdx.Component{{
		BOMRef: "pkg:golang/std@" + goVersion, PackageURL: "pkg:golang/std@" + goVersion,
		Type: cdx.ComponentTypeLibrary, Name: "std", Version: goVersion, Licenses: license("BSD-3-Clause"),
	}}
	for _, m := range info.Deps {
		components = append(components, module(m, where))
	}
	refs := make([]string, len(components))
	for i, c := range components {
		refs[i] = c.BOMRef
	}

	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + serial(sum)
	bom.Metadata = &cdx.Metadata{Timestamp: stat.ModTime().UTC().Format(time.RFC3339), Component: main}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	return bom, nil
}

// module is a module as it was compiled: where go.mod replaces one, the other one.
func module(m *debug.Module, where map[string]string) cdx.Component {
	if m.Replace != nil {
		m = m.Replace
	}
	url := "pkg:golang/" + m.Path + "@" + m.Version
	c := cdx.Component{BOMRef: url, PackageURL: url, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version}
	if m.Sum != "" {
		c.Properties = &[]cdx.Property{{Name: "golang:h1", Value: m.Sum}}
	}
	if dir := where[m.Path+"@"+m.Version]; dir != "" {
		c.Licenses = license(licensesIn(dir)...)
	}
	return c
}

// license is the licence, or an expression of several, each of which is of a part.
func license(ids ...string) *cdx.Licenses {
	switch len(ids) {
	case 0:
		return nil
	case 1:
		return &cdx.Licenses{{License: &cdx.License{ID: ids[0]}}}
	}
	return &cdx.Licenses{{Expression: strings.Join(ids, " AND ")}}
}

// serial is a UUID of version 8, made of the sum.
func serial(sum [sha256.Size]byte) string {
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
