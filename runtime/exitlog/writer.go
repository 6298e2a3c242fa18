package exitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// tailSize is how much of a file's end is read to see which boot it is of. It
// holds several records even with the longest names.
const tailSize = 64 << 10

// keptSize is how large a buffer is kept between calls of Append.
const keptSize = 4 << 10

// Writer appends ends. It is not for concurrent use.
type Writer struct {
	path string
	max  int64
	file *os.File
	made os.FileInfo // of file
	// size is where the next record begins.
	size int64
	// torn: something unfinished lies at the end that could not be cut off.
	torn bool
	// buf is where Append makes its lines.
	buf []byte
}

// OpenWriter opens the file in dir, which must exist, and makes it with mode
// 0600 if need be. The torn tail of a former writer is closed off. A file of a
// boot other than boot is emptied.
func OpenWriter(dir, boot string) (*Writer, error) {
	w := &Writer{path: filepath.Join(dir, Name), max: MaxSize}
	if err := w.open(); err != nil {
		return nil, err
	}
	if err := w.takeOver(boot); err != nil {
		_ = w.file.Close()
		return nil, fmt.Errorf("open the log of ends: %w", err)
	}
	return w, nil
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of ends: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open the log of ends: %w", err)
	}
	w.file, w.made, w.size = f, st, st.Size()
	return nil
}

// renew makes the file again where it is not at its path any more, with what was in
// the one that somebody removed: no end is on record anywhere else.
func (w *Writer) renew() error {
	if now, err := os.Stat(w.path); err == nil && os.SameFile(now, w.made) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(w.path), 0o700); err != nil {
		return fmt.Errorf("make the log of ends again: %w", err)
	}
	next := Writer{path: w.path, max: w.max}
	if err := next.open(); err != nil {
		return err
	}
	// Where there is a file already it is of an unfinished try, or of another
	// writer: a line of its own for what comes.
	next.torn = next.size > 0
	content, err := io.ReadAll(io.NewSectionReader(w.file, 0, w.size))
	if err == nil && len(content) > 0 {
		if next.torn {
			content = append([]byte{'\n'}, content...)
		}
		var n int
		if n, err = next.file.Write(content); err != nil {
			next.cut(n)
		}
		next.size += int64(len(content))
		next.torn = w.torn
	}
	if err != nil {
		_ = next.file.Close()
		return fmt.Errorf("make the log of ends again: %w", err)
	}
	_ = w.file.Close()
	*w = next
	return nil
}

// takeOver makes what a former writer left fit for this one.
func (w *Writer) takeOver(boot string) error {
	from := max(0, w.size-tailSize)
	tail, err := io.ReadAll(io.NewSectionReader(w.file, from, w.size-from))
	if err != nil || len(tail) == 0 {
		return err
	}
	last := boot
	decodeAll(tail, func(r Record) { last = r.Boot })
	if last != boot {
		if err := w.file.Truncate(0); err != nil {
			return err
		}
		w.size = 0
		if err := os.Remove(filepath.Join(filepath.Dir(w.path), oldName)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	w.torn = tail[len(tail)-1] != '\n'
	return nil
}

// Append writes records behind all others, in one write. When it returns nil,
// every later reader finds them, though not after a crash of the machine. When it
// returns an error, there is nothing of any in the file that a reader would take.
func (w *Writer) Append(records ...Record) error {
	if err := w.renew(); err != nil {
		return err
	}
	lines := append(w.buf[:0], '\n')
	for _, r := range records {
		lines = appendLine(lines, r)
	}
	w.buf = nil
	if cap(lines) <= keptSize {
		w.buf = lines
	}
	if w.size > 0 && w.size+int64(len(lines)-1) > w.max {
		w.rotate()
	}
	if !w.torn {
		lines = lines[1:]
	}
	n, err := w.file.Write(lines)
	if err != nil {
		w.cut(n)
		return fmt.Errorf("append to the log of ends: %w", err)
	}
	w.size += int64(n)
	w.torn = false
	return nil
}

// rotate begins a new file. Where that cannot be done the old one grows on:
// better a large file than a lost end. The new file is there before the old one
// gives up its name, so that nothing is appended where no reader looks.
func (w *Writer) rotate() {
	next := w.path + ".new"
	f, err := os.OpenFile(next, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	if err := os.Rename(w.path, filepath.Join(filepath.Dir(w.path), oldName)); err != nil {
		_ = f.Close()
		return
	}
	if err := os.Rename(next, w.path); err != nil {
		_ = f.Close()
		return
	}
	made, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return
	}
	_ = w.file.Close()
	w.file, w.made, w.size, w.torn = f, made, 0, false
}

// cut takes n bytes of an unfinished record off again.
func (w *Writer) cut(n int) {
	if n <= 0 {
		return
	}
	if err := w.file.Truncate(w.size); err != nil {
		w.size += int64(n)
		w.torn = true
	}
}

// Close closes the file. What was appended stays.
func (w *Writer) Close() error { return w.file.Close() }
