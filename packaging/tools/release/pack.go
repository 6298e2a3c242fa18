package main

import (
	"errors"
	"os"
	"path"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

// pack writes a package with nfpm, which is what goreleaser does it with.
func (r *releaser) pack(f facts, p Package, format, arch, binary string) (err error) {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	when, err := f.date(p.MTime)
	if err != nil {
		return err
	}
	info := &nfpm.Info{
		Name: p.PackageName, Arch: arch, Platform: "linux", Version: f["Version"].(string),
		Section: p.Section, Maintainer: p.Maintainer, Vendor: p.Vendor, Homepage: p.Homepage,
		Description: p.Description, License: p.License, MTime: when,
	}
	info.Umask = p.Umask
	info.Scripts = nfpm.Scripts(p.Scripts)
	if arch == "amd64" {
		info.Deb.ArchVariant = arch + microarchitectures[arch]
	}
	info.RPM.Summary, info.RPM.BuildHost, info.RPM.Group = p.RPM.Summary, p.RPM.BuildHost, p.RPM.Group
	for _, c := range p.Contents {
		mtime, err := f.date(c.FileInfo.MTime)
		if err != nil {
			return err
		}
		info.Contents = append(info.Contents, &files.Content{
			Source: c.Src, Destination: c.Dst, Type: c.Type, Packager: c.Packager,
			FileInfo: &files.ContentFileInfo{Owner: c.FileInfo.Owner, Group: c.FileInfo.Group, Mode: c.FileInfo.Mode, MTime: mtime},
		})
	}
	info.Contents = append(info.Contents, &files.Content{
		Source: binary, Destination: path.Join(p.Bindir, path.Base(binary)),
		FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: when},
	})
	if err := nfpm.PrepareForPackager(nfpm.WithDefaults(info), format); err != nil {
		return err
	}
	name, err := f.with(facts{"ConventionalFileName": packager.ConventionalFileName(info)}).text(p.FileNameTemplate)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.Dist, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	r.made = append(r.made, name)
	return packager.Package(info, out)
}
