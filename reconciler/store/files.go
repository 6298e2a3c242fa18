package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

const (
	filesName = "files"
	filesTemp = "files.new"
	// filesReserve is what is left free on a disk, or half of one that is small: the
	// desired states are there too. In bytes.
	filesReserve = 1 << 20
)

// File is what was last seen of a child's file.
type File struct {
	// Hash is that of its last good version, empty where there was none.
	Hash string `json:"hash,omitempty"`
	// Error is what was wrong with it, empty where nothing was.
	Error string `json:"error,omitempty"`
}

// FilesSeen is what a server saw last of the files of all children. It is the content
// of the file.
type FilesSeen struct {
	// Version is that of the server that saw them: another one may make another
	// hash of the same file, and find fault with what was good.
	Version string          `json:"version"`
	Files   map[string]File `json:"files"`
}

// Files is what a server of the same version saw last of the files of all children;
// false where there is nothing of the kind.
func (s *Store) Files(version string) (files map[string]File, known bool) {
	if seen := s.unsavedFiles; seen != nil {
		return seen.Files, seen.Version == version
	}
	return s.readFiles(version)
}

func (s *Store) readFiles(version string) (files map[string]File, known bool) {
	text, err := os.ReadFile(s.journal.path(filesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	var seen FilesSeen
	if err == nil {
		err = json.Unmarshal(text, &seen)
	}
	if err != nil {
		// A power cut may have left half of it.
		s.log.Warn("it is not known what the files of the children were when the server ended", "err", err)
		return nil, false
	}
	return seen.Files, seen.Version == version
}

// SaveFiles remembers it, for the server after this one. It is not synced: after a
// power cut it may be what was true before. What cannot be saved is kept, see
// UnsavedFiles. One goroutine may call it, Files or UnsavedFiles at a time.
func (s *Store) SaveFiles(version string, files map[string]File) error {
	seen := &FilesSeen{version, files}
	s.unsavedFiles = seen
	err := s.writeFiles(seen)
	if err == nil {
		s.unsavedFiles = nil
	}
	return err
}

// UnsavedFiles is what is newer than the file, nil where that is up to date: a version
// that takes over in order goes on with it, see Options.
func (s *Store) UnsavedFiles() *FilesSeen { return s.unsavedFiles }

func (s *Store) writeFiles(seen *FilesSeen) error {
	text, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	temp := s.journal.path(filesTemp)
	if err := s.roomFor(len(text)); err != nil {
		return fmt.Errorf("%s: %w", temp, err)
	}
	err = os.WriteFile(temp, text, 0o600)
	if err == nil {
		err = os.Rename(temp, s.journal.path(filesName))
	}
	if err != nil {
		return errors.Join(err, removeFile(temp))
	}
	return nil
}

// roomFor tells whether so many bytes can be written and leave what is reserved.
func (s *Store) roomFor(bytes int) error {
	var st unix.Statfs_t
	if unix.Statfs(s.stateDir, &st) != nil || st.Blocks == 0 || st.Bsize <= 0 {
		return nil
	}
	free, all := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	if free < uint64(bytes)+min(filesReserve, all/2) {
		return unix.ENOSPC
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
