package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kita/failpoint"
)

const (
	journalName = "journal"
	journalTemp = "journal.tmp"
	// journalBad is a journal that could not be read to its end; there is
	// never more than one.
	journalBad = "journal.bad"

	// compactSize is the length below which a journal is not rewritten, and
	// compactRatio how many times its snapshot it may become.
	compactSize  = 1 << 20
	compactRatio = 4
)

// journal is the open file. It belongs to whoever holds the store's disk.
type journal struct {
	dir string
	// file is nil while there is no journal at all.
	file *os.File
	id   fileID // of file
	// size is the length of what is acknowledged; base that of the snapshot it
	// begins with.
	size, base int64
	// broken: the file may hold bytes beyond size, or its pages may not be
	// what is on disk. It is replaced before anything else is written.
	broken bool
	// sync is syncData but for tests.
	sync func(*os.File) error
}

func (j *journal) path(name string) string { return filepath.Join(j.dir, name) }

// append makes lines durable behind the journal, or leaves it as it was. st is
// the state without lines, for the case that the file must be replaced.
func (j *journal) append(st *state, lines []byte) error {
	if j.broken {
		return j.rewrite(st, lines)
	}
	if _, err := j.file.WriteAt(lines, j.size); err != nil {
		// Disk full, most often: this frees the part that found a place.
		j.cutBack()
		return err
	}
	failpoint.Hit(failpoint.Journal)
	if err := j.sync(j.file); err != nil {
		// The kernel reports a failed write-back once and then takes the
		// pages for clean, so asking again would be answered with a lie.
		j.cutBack()
		j.broken = true
		if rewriteErr := j.rewrite(st, lines); rewriteErr != nil {
			return errors.Join(err, rewriteErr)
		}
		return nil
	}
	j.size += int64(len(lines))
	return nil
}

// cutBack removes what is in the file beyond size.
func (j *journal) cutBack() {
	if err := j.file.Truncate(j.size); err != nil {
		j.broken = true
		return
	}
	if err := j.sync(j.file); err != nil {
		j.broken = true
	}
}

// rewrite replaces the journal with a snapshot of st and lines behind it. When
// it fails the old file is in force, or the new one without lines.
func (j *journal) rewrite(st *state, lines []byte) error {
	snapshot, err := st.snapshot()
	if err != nil {
		return err
	}
	f, err := j.writeTemp(append(snapshot[:len(snapshot):len(snapshot)], lines...))
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.Rename)
	if err := os.Rename(j.path(journalTemp), j.path(journalName)); err != nil {
		return errors.Join(err, f.Close(), os.Remove(j.path(journalTemp)))
	}
	if j.file != nil {
		j.file.Close() // nothing in it is needed any more
	}
	j.id = idOf(f)
	j.file, j.base, j.size, j.broken = f, int64(len(snapshot)), int64(len(snapshot)), false
	if err := j.syncDir(); err != nil {
		// The name may go back to the old file in a crash. Whichever it is,
		// it must not have lines.
		j.cutBack()
		j.broken = true
		return err
	}
	j.size += int64(len(lines))
	return nil
}

// writeTemp returns a synced file that is to become the journal.
func (j *journal) writeTemp(data []byte) (*os.File, error) {
	temp := j.path(journalTemp)
	fd, err := unix.Open(temp, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: temp, Err: err}
	}
	// It keeps this name for life, and errors should show the one it will have.
	f := os.NewFile(uintptr(fd), j.path(journalName))
	_, err = f.Write(data)
	if err == nil {
		err = j.sync(f)
	}
	if err != nil {
		// Also gives the space back to whoever filled the disk.
		return nil, errors.Join(err, f.Close(), os.Remove(temp))
	}
	return f, nil
}

func (j *journal) syncDir() error {
	d, err := os.Open(j.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return j.sync(d)
}

// outgrown tells whether the journal is worth a rewrite.
func (j *journal) outgrown() bool {
	return !j.broken && j.size > compactSize && j.size > compactRatio*j.base
}

// setAside keeps the journal as it is under another name. A second name needs
// no space; the copy is for file systems without hard links.
func (j *journal) setAside() error {
	if err := os.Remove(j.path(journalBad)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	linkErr := os.Link(j.path(journalName), j.path(journalBad))
	if linkErr == nil {
		return nil
	}
	data, err := os.ReadFile(j.path(journalName))
	if err == nil {
		err = os.WriteFile(j.path(journalBad), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep a copy of the damaged journal: %w", errors.Join(linkErr, err))
	}
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
