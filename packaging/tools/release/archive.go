package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// archive writes a tar.gz of the binary and the files that go with it.
func (r *releaser) archive(f facts, a Archive, binary string) (err error) {
	name, err := f.text(a.NameTemplate)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.Dist, name+".tar.gz"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	packed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := &tarball{tar.NewWriter(packed), f, name}
	members := []member{{binary, path.Base(binary), a.BuildsInfo}}
	for _, file := range a.Files {
		matches, err := filepath.Glob(file.Src)
		if err != nil {
			return err
		}
		if len(matches) == 0 {
			return fmt.Errorf("%s: there is no such file", file.Src)
		}
		for _, match := range matches {
			to := filepath.ToSlash(match)
			if file.Dst != "" {
				to = path.Join(file.Dst, path.Base(to))
			}
			members = append(members, member{match, to, file.Info})
		}
	}
	slices.SortFunc(members[1:], func(a, b member) int { return cmp.Compare(a.to, b.to) })
	// The binary comes last, as with goreleaser.
	for _, m := range append(members[1:], members[0]) {
		if err := t.add(m); err != nil {
			return err
		}
	}
	r.made = append(r.made, name+".tar.gz")
	return errors.Join(t.Close(), packed.Close())
}

// member is a file of an archive.
type member struct {
	from, to string
	info     FileInfo
}

type tarball struct {
	*tar.Writer
	facts facts
	// dir is the directory that all is in.
	dir string
}

func (t *tarball) add(m member) error {
	in, err := os.Open(m.from)
	if err != nil {
		return err
	}
	defer in.Close()
	stat, err := in.Stat()
	if err != nil {
		return err
	}
	when, err := t.facts.date(m.info.MTime)
	if err != nil {
		return err
	}
	mode := m.info.Mode
	if mode == 0 {
		mode = stat.Mode().Perm() &^ fs.FileMode(0o022)
	}
	head := &tar.Header{
		Name: path.Join(t.dir, m.to), Mode: int64(mode), Size: stat.Size(), ModTime: when,
		Uname: m.info.Owner, Gname: m.info.Group, Format: tar.FormatGNU,
	}
	if err := t.WriteHeader(head); err != nil {
		return err
	}
	_, err = io.Copy(t, in)
	return err
}
