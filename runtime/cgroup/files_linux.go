package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The files of a group are opened without package os, which would register each
// with Go's poller: it takes twice as many system calls.

// readFile reads a file of a group.
func readFile(dir, file string) ([]byte, error) { return readInto(nil, dir, file) }

// readInto is readFile into buf, or into a larger one if the file is longer.
func readInto(buf []byte, dir, file string) ([]byte, error) {
	path := dir + "/" + file
	fd, err := retryEINTR(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text := buf[:0]
	for {
		if len(text) == cap(text) {
			text = append(text, make([]byte, 512)...)[:len(text)]
		}
		n, err := retryEINTR(func() (int, error) { return unix.Read(fd, text[len(text):cap(text)]) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return text, nil
		}
		text = text[:len(text)+n]
	}
}

// writeFile never makes the file: a group has it or has it not.
func writeFile(dir, file, text string) error {
	path := filepath.Join(dir, file)
	fd, err := retryEINTR(func() (int, error) { return unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	_, err = retryEINTR(func() (int, error) { return unix.Write(fd, []byte(text)) })
	if closed := unix.Close(fd); err == nil {
		err = closed
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// readKey finds a line "key number" in a file of a group.
func readKey(dir, file, key string) (uint64, error) {
	var buf [512]byte
	text, err := readInto(buf[:], dir, file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		word, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
		if string(word) == key {
			return strconv.ParseUint(string(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %q", filepath.Join(dir, file), key)
}

// readNumber reads a file of a group that holds a number alone.
func readNumber(dir, file string) (uint64, error) {
	var buf [32]byte
	text, err := readInto(buf[:], dir, file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
}

// rmdir removes a group. One that is gone is removed.
func rmdir(path string) error {
	_, err := retryEINTR(func() (int, error) { return 0, unix.Rmdir(path) })
	if err == nil || gone(err) {
		return nil
	}
	return fmt.Errorf("cannot remove cgroup %s: %w", path, err)
}

func retryEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
