package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// explain says what an errno of StartProcess is about. It may come from any
// system call between fork and exec.
func (o *order) explain(err error) error {
	switch errnoOf(err) {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return fmt.Errorf("fork for %s: %w", o.path, err)
	case unix.EAGAIN:
		return fmt.Errorf("fork for %s: %w (the limit of processes is reached)", o.path, err)
	case unix.EPERM:
		if o.as.credential() != nil && os.Geteuid() != 0 {
			return fmt.Errorf("run as %s: %w (the server is not root)", o.as.label, err)
		}
	case unix.EACCES:
		if o.as.credential() != nil {
			return fmt.Errorf("enter %s and exec %s as %s: %w", o.dir, o.path, o.as.label, err)
		}
	}
	return explainExec(o.path, o.dir, err)
}

// explainExec says why execve(2) refused a file.
func explainExec(path, dir string, err error) error {
	failed := &os.PathError{Op: "exec", Path: path, Err: err}
	file := inDir(dir, path)
	st, serr := os.Stat(file)
	if serr != nil {
		return failed
	}
	switch errnoOf(err) {
	case unix.EACCES:
		if st.IsDir() {
			return fmt.Errorf("%w (it is a directory)", failed)
		}
		if st.Mode()&0o111 == 0 {
			return fmt.Errorf("%w (it is not executable)", failed)
		}
	case unix.ENOENT:
		if name := interpreter(file); name != "" {
			return fmt.Errorf("%w (its interpreter %s is missing)", failed, name)
		}
		return fmt.Errorf("%w (the file is there, the loader it needs is missing)", failed)
	case unix.ENOEXEC:
		head := readHead(file)
		switch {
		case len(head) == 0:
			return fmt.Errorf("%w (the file is empty)", failed)
		case bytes.HasPrefix(head, []byte("\x7fELF")):
			return fmt.Errorf("%w (it is built for another machine)", failed)
		}
		return fmt.Errorf("%w (no #! line)", failed)
	}
	return failed
}

// interpreter returns the path in the #! line of a script.
func interpreter(file string) string {
	line, _, _ := bytes.Cut(readHead(file), []byte("\n"))
	rest, ok := bytes.CutPrefix(line, []byte("#!"))
	fields := bytes.Fields(rest)
	if !ok || len(fields) == 0 {
		return ""
	}
	// A script from Windows ends its line with a carriage return, which the
	// kernel takes for a part of the name: show it.
	if name := string(fields[0]); !bytes.HasSuffix(line, []byte("\r")) {
		return name
	}
	return strconv.Quote(string(bytes.TrimLeft(rest, " \t")))
}

// readHead reads the beginning of a regular file; nothing if it cannot.
func readHead(file string) []byte {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	head := make([]byte, 256)
	n, err := unix.Read(fd, head)
	if err != nil {
		return nil
	}
	return head[:n]
}

func errnoOf(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
