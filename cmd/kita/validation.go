package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kita/control/fleet"
	"kita/spec"
)

// findingSeverity says whether a finding is a mistake.
type findingSeverity string

const (
	mistake findingSeverity = "error"
	warning findingSeverity = "warning"
)

// finding is one thing that was found.
type finding struct {
	File string `json:"file"`
	// Line counts from 1; 0 where none is meant.
	Line     int             `json:"line,omitempty"`
	Key      string          `json:"key,omitempty"`
	Message  string          `json:"message"`
	Severity findingSeverity `json:"severity"`
}

// text is the finding in a line, as that of a compiler.
func (f finding) text() string {
	switch {
	case f.Line > 0:
		return spec.FileError{File: f.File, Line: f.Line, Key: f.Key, Message: f.Message}.Error()
	case f.Key != "":
		return f.File + ": " + f.Key + ": " + f.Message
	case f.File == "" || strings.Contains(f.Message, f.File):
		return f.Message
	}
	return f.File + ": " + f.Message
}

// validation collects what is found in configuration files.
type validation struct {
	// uid is whose server it would be.
	uid int
	// seen has the absolute paths checked so far.
	seen    map[string]bool
	checked int
	// defaults are those of the last server.yml, in force for the child files
	// named after it; catalogue has its load paths, nil without one.
	defaults  *spec.Defaults
	catalogue *spec.Catalogue
	// unlisted: a load path could not be listed, so what has no file is not known.
	unlisted bool
	findings []finding
}

// run checks the files, or what a server would use. The error is of standard input.
func (v *validation) run(f validateFlags, files []string, stdin io.Reader) error {
	v.findings = []finding{} // never null in JSON
	if f.server != "" {
		v.server(f.server, nil, len(files) == 0)
	} else if len(files) == 0 {
		v.found()
	}
	for _, file := range files {
		var data []byte
		if file == "-" {
			var err error
			if data, err = readStdin(stdin, spec.MaxFileSize); err != nil {
				return err
			}
			if data == nil {
				data = []byte{}
			}
			file = f.as
		}
		switch filepath.Base(file) {
		case "server.yml", "server.yaml":
			v.server(file, data, true)
		case "hosts.yml", "hosts.yaml":
			v.hosts(file, data)
		default:
			v.child(file, data)
		}
	}
	return nil
}

// found checks the server.yml that a server would use.
func (v *validation) found() {
	file, warnings, err := spec.FindServerFile("")
	for _, w := range warnings {
		v.findings = append(v.findings, finding{Message: w, Severity: warning})
	}
	switch {
	case err != nil:
		v.fail("", err)
	case file == "":
		v.fail("", errors.New("there is no server.yml in /etc/kita or /tmp that can be trusted: name the files to check"))
	default:
		v.server(file, nil, true)
	}
}

// server checks a server's file, and with all the child files too. data is its
// content, nil to have it read.
func (v *validation) server(file string, data []byte, all bool) {
	if !v.first(file) {
		return
	}
	data, err := contentOf(file, data)
	if err != nil {
		v.fail(file, err)
		return
	}
	server, err := spec.ParseServer(file, data)
	if err != nil {
		v.fail(file, err)
		return
	}
	v.defaults = server.Defaults
	v.catalogue = spec.NewCatalogue()
	v.catalogue.SetPaths(server.LoadPaths, server.Defaults)
	v.unlisted = false
	_, problems := v.catalogue.Refresh()
	for _, problem := range problems {
		if !problem.Illegal {
			v.unlisted = true
			message := problem.Message
			if !filepath.IsAbs(problem.Path) {
				message += "; it is relative to the directory that the server is started in, and that kita is called in now"
			}
			v.findings = append(v.findings, finding{File: problem.Path, Message: message, Severity: warning})
		}
	}
	w := warner{v, file, spec.KeyLines(data)}
	w.server(server)
	if all {
		v.children()
		w.children(server)
	}
}

// children checks every child file of the load paths, and their hooks.
func (v *validation) children() {
	for _, entry := range v.catalogue.Entries() {
		for _, file := range entry.Files {
			v.first(file)
		}
		switch {
		case entry.Err != nil && len(entry.Files) > 0:
			v.fail(entry.Files[0], entry.Err)
		case entry.Child != nil:
			v.hooks(entry.Child, nil)
			warner{v, entry.Child.File, linesOf(entry.Child.File)}.host(entry.Child)
		}
	}
}

// hooks checks those of a child against the load paths.
func (v *validation) hooks(c *spec.Child, data []byte) {
	lookup := func(name string) (*spec.Child, bool) {
		if name == c.Name {
			return c, true
		}
		return v.catalogue.Child(name)
	}
	err := spec.CheckHooks(c.Name, lookup)
	if err == nil {
		return
	}
	data, readErr := contentOf(c.File, data)
	line := 0
	if readErr == nil {
		line = spec.KeyLines(data)["hooks"]
	}
	v.findings = append(v.findings, finding{c.File, line, "hooks", err.Error(), mistake})
}

// child checks a file by itself. Whether its hooks have a target is known only
// where a server.yml has its directory in the load paths.
func (v *validation) child(file string, data []byte) {
	if !v.first(file) {
		return
	}
	if data == nil {
		if err := mustBeFile(file); err != nil {
			v.fail(file, err)
			return
		}
	}
	name, ok := spec.NameOf(filepath.Base(file))
	if !ok {
		v.fail(file, errors.New("it holds no child, the file's name must end in .yml or .yaml and not begin with a dot"))
		return
	}
	if err := spec.ValidName(name); err != nil {
		v.fail(file, err)
		return
	}
	data, err := contentOf(file, data)
	if err != nil {
		v.fail(file, err)
		return
	}
	c, err := spec.ParseChild(filepath.Dir(file), file, data, v.defaults)
	if err != nil {
		v.fail(file, err)
		return
	}
	warner{v, file, spec.KeyLines(data)}.host(c)
	if v.catalogue != nil && slices.ContainsFunc(v.catalogue.Paths(), func(dir string) bool { return samePath(dir, filepath.Dir(file)) }) {
		v.hooks(c, data)
	}
}

// mustBeFile is an error where a name is wrong for another reason than how it ends.
func mustBeFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return &fs.PathError{Op: "read", Path: path, Err: errors.Unwrap(err)}
	}
	if !info.IsDir() {
		return nil
	}
	for _, name := range []string{"server.yml", "server.yaml"} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return fmt.Errorf("it is a directory, name its %s, which is checked together with the children", name)
		}
	}
	return errors.New("it is a directory, name the files in it")
}

// hosts checks a hosts.yml.
func (v *validation) hosts(file string, data []byte) {
	if !v.first(file) {
		return
	}
	data, err := contentOf(file, data)
	if err != nil {
		v.fail(file, err)
		return
	}
	hosts, err := spec.ParseHosts(file, data)
	if err == nil {
		err = fleet.Check(hosts)
	}
	if err != nil {
		v.fail(file, err)
	}
}

// contentOf is data, or the content of the file where that is nil.
func contentOf(file string, data []byte) ([]byte, error) {
	if data != nil {
		return data, nil
	}
	return spec.ReadFile(file)
}

func samePath(a, b string) bool {
	a, aErr := filepath.Abs(a)
	b, bErr := filepath.Abs(b)
	return aErr == nil && bErr == nil && a == b
}

// first counts a file; false when it was checked before.
func (v *validation) first(file string) bool {
	key, err := filepath.Abs(file)
	if err != nil {
		key = file
	}
	if v.seen[key] {
		return false
	}
	v.seen[key] = true
	v.checked++
	return true
}

// fail notes what is wrong with a file.
func (v *validation) fail(file string, err error) {
	if files := fileErrors(err); files != nil {
		for _, e := range files {
			v.findings = append(v.findings, finding{e.File, e.Line, e.Key, e.Message, mistake})
		}
		return
	}
	for _, line := range errorLines(err) {
		v.findings = append(v.findings, finding{File: file, Message: line, Severity: mistake})
	}
}

func (v *validation) count() (mistakes, warnings int) {
	for _, f := range v.findings {
		if f.Severity == mistake {
			mistakes++
		} else {
			warnings++
		}
	}
	return mistakes, warnings
}
