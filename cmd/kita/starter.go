package main

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kita/spec"
	"kita/spec/schema"
)

//go:embed starter
var starterFiles embed.FS

// starterSet are the files of init, in the order in which they are written: who
// finds a server.yml finds the others too.
type starterSet []starterFile

type starterFile struct {
	// name is relative to the directory of the set.
	name string
	text []byte
}

// starter is the set for dir, which is absolute.
func starter(dir string) (starterSet, error) {
	var set starterSet
	for _, f := range spec.FileTypes() {
		text, err := schema.Of(f)
		if err != nil {
			return nil, err
		}
		set = append(set, starterFile{"schema/" + f.Name + ".json", text})
	}
	for _, f := range []struct{ name, from string }{
		{"keys/README", "README"}, {"children/hello.yml", "hello.yml"}, {"server.yml", "server.yml"},
	} {
		text, err := starterFiles.ReadFile("starter/" + f.from)
		if err != nil {
			return nil, err
		}
		// Absolute: the server takes them as relative to the directory it is started in.
		filled := strings.NewReplacer("{{children}}", yamlText(filepath.Join(dir, "children")), "{{keys}}", yamlText(filepath.Join(dir, "keys"))).Replace(string(text))
		set = append(set, starterFile{f.name, []byte(filled)})
	}
	// A path can hold what no file of kita can.
	if _, err := spec.ParseServer(filepath.Join(dir, "server.yml"), set[len(set)-1].text); err != nil {
		return nil, fmt.Errorf("%s is no name for a directory of kita: %w", printable(dir), err)
	}
	return set, nil
}

// yamlText is a path in a list of YAML.
func yamlText(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return path
	}
	quoted, _ := json.Marshal(path)
	return string(quoted)
}

// write makes the files and the directories they need. Where one is there, or
// cannot be written, nothing is left of the others.
func (s starterSet) write(dir string) (err error) {
	if err := s.free(dir); err != nil {
		return err
	}
	if keys := filepath.Join(dir, "keys"); othersWrite(keys) {
		return fmt.Errorf("nothing is written, %s can be written by others, and a server uses no key in such a directory: chmod o-w %s", keys, shellWord(keys))
	}
	var made []string
	defer func() {
		for i := len(made) - 1; err != nil && i >= 0; i-- {
			_ = os.Remove(made[i])
		}
	}()
	for _, f := range s {
		path := filepath.Join(dir, f.name)
		mode := fs.FileMode(0o755)
		if strings.HasPrefix(f.name, "keys/") {
			mode = 0o700
		}
		if made, err = makeDirs(made, filepath.Dir(path), mode); err != nil {
			return fmt.Errorf("cannot write %s: %w", path, err)
		}
		if err = writeNew(path, f.text); err != nil {
			return fmt.Errorf("cannot write %s: %w", path, err)
		}
		made = append(made, path)
	}
	return nil
}

// free is an error where a file of the set is there already; it names all of them.
func (s starterSet) free(dir string) error {
	var there []string
	for _, f := range s {
		path := filepath.Join(dir, f.name)
		switch _, err := os.Lstat(path); {
		case err == nil:
			there = append(there, path)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("cannot write %s: %w", path, err)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("nothing is written, this is there already: %s; name another directory", strings.Join(there, ", "))
	}
	return nil
}

// othersWrite tells a directory of keys that no server will use, whoever it runs as.
func othersWrite(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode().Perm()&0o002 != 0
}

// makeDirs makes dir and those above it, and adds to made which were not there.
func makeDirs(made []string, dir string, mode fs.FileMode) ([]string, error) {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return made, nil
	case err == nil:
		return made, fmt.Errorf("%s is no directory", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return made, err
	}
	if made, err = makeDirs(made, filepath.Dir(dir), 0o755); err != nil {
		return made, err
	}
	if err := os.Mkdir(dir, mode); err != nil {
		return made, err
	}
	return append(made, dir), nil
}

// writeNew makes a file in one step, complete or not at all, and never in the
// place of another.
func writeNew(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".kita-init-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
