package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"kita/control"
)

// targetsFile is a file by which Prometheus discovers, see
// https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
type targetsFile struct{ path string }

// targetsExtensions are those that Prometheus reads. JSON is YAML too.
var targetsExtensions = []string{".json", ".yml", ".yaml"}

// check refuses a name that Prometheus would not take, or would take for another.
func (f targetsFile) check() error {
	if !slices.Contains(targetsExtensions, filepath.Ext(f.path)) {
		return usagef("--write %s: Prometheus reads files of targets only where their name ends in .json, .yml or .yaml", f.path)
	}
	return nil
}

// read is the content of the file, nil where there is none.
func (f targetsFile) read() ([]byte, error) {
	content, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

// groups are those that the file has.
func (f targetsFile) groups() ([]control.TargetGroup, error) {
	content, err := f.read()
	if err != nil || len(bytes.TrimSpace(content)) == 0 {
		return nil, err
	}
	var groups []control.TargetGroup
	if err := json.Unmarshal(content, &groups); err != nil {
		return nil, fmt.Errorf("%s is not what `kita sd` writes, remove it or give another file: %w", f.path, err)
	}
	return groups, nil
}

// write puts text in the place of the file in one step, with its permissions. A file
// that has the text is left alone: Prometheus reads it anew at each change.
func (f targetsFile) write(text []byte) error {
	before, err := f.read()
	if err != nil {
		return err
	}
	if before != nil && bytes.Equal(before, text) {
		return nil
	}
	// What a link leads to is replaced, not the link.
	path, mode := f.path, fs.FileMode(0o644)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	// Its name ends in digits, so no pattern of Prometheus takes it in.
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	err = errors.Join(err, next.Chmod(mode), next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return fmt.Errorf("cannot write %s: %w", f.path, err)
	}
	return nil
}
