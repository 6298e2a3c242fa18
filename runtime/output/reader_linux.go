package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// readPiece is the most that is read of the live file at once: rotation waits
// for it.
const readPiece = 256 << 10

// LostError says that what lay between two positions is not there any more.
type LostError struct {
	From, To uint64
	// Err is what is wrong with an archive; nil where it was removed.
	Err error
}

func (e *LostError) Error() string {
	text := fmt.Sprintf("%d bytes from position %d on are gone", e.To-e.From, e.From)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *LostError) Unwrap() error { return e.Err }

// Reader reads the bytes of a stream one after the other, wherever they are. It
// is for one goroutine at a time.
type Reader struct {
	f   *File
	pos uint64
	// live is the open live file, -1 for none, and key which it is.
	live int
	key  Key
	// from is the open archive; nil for none.
	from *openArchive
}

// Open reads from a position on. It opens nothing yet, so it has no error of the
// file's; those come with Read.
func (f *File) Open(from uint64) (*Reader, error) {
	return &Reader{f: f, pos: from, live: -1}, nil
}

// Close gives up what is open.
func (r *Reader) Close() error {
	r.closeLive()
	r.closeArchive()
	return nil
}

func (r *Reader) closeLive() {
	if r.live >= 0 {
		unix.Close(r.live)
		r.live = -1
	}
}

func (r *Reader) closeArchive() {
	if r.from != nil {
		r.from.close()
		r.from = nil
	}
}

// Read returns io.EOF at the present end, and can be called again when there is
// more. Where bytes were removed before they were read it returns one LostError,
// and goes on behind them. Each byte is returned once.
func (r *Reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		if r.from != nil && r.pos < r.from.end {
			return r.readArchive(b)
		}
		r.closeArchive()
		n, there, err := r.readLive(b)
		if there || err != nil {
			return n, err
		}
		if err := r.findArchive(); err != nil {
			return 0, err
		}
	}
}

// readLive reads from the live file; there is false for what is not in it.
func (r *Reader) readLive(b []byte) (n int, there bool, err error) {
	base, there, _ := r.layout()
	if !there {
		return 0, false, nil
	}
	if err := r.openLive(); err != nil {
		if r.pos >= r.f.lastSeen() {
			return 0, true, io.EOF
		}
		return 0, true, err
	}
	n, there, err = r.pread(b[:min(len(b), readPiece)])
	if err != nil {
		return 0, true, r.f.failed("read", err)
	}
	r.pos += uint64(n)
	if n > 0 || !there {
		return n, there, nil
	}
	// It may be shorter than it was. An error says no more than the end does.
	_, _ = r.f.measure(time.Now())
	if now := r.f.base(); now != base {
		return 0, false, nil
	}
	return 0, true, io.EOF
}

// layout returns where the live file begins and which it is; there: the position
// lies in it, or behind.
func (r *Reader) layout() (base uint64, there bool, key Key) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return r.f.rec.Base, r.pos >= r.f.rec.Head, r.f.rec.Key
}

func (r *Reader) openLive() error {
	_, _, key := r.layout()
	if r.live >= 0 && r.key == key {
		return nil
	}
	r.closeLive()
	fd, err := r.f.openLive(unix.O_RDONLY)
	if err != nil {
		return err
	}
	r.live, r.key = fd, keyOf(fd)
	return nil
}

// pread reads once, while the head stays where it is.
func (r *Reader) pread(b []byte) (n int, there bool, err error) {
	r.f.layout.RLock()
	defer r.f.layout.RUnlock()
	base, there, key := r.layout()
	if !there || key != r.key {
		return 0, false, nil
	}
	r.f.shared.passed(whileReading)
	n, err = preadEINTR(r.live, b, int64(r.pos-base))
	return n, true, err
}

// findArchive opens the archive that has the position. There being none, or one
// that cannot be read, is a LostError; the position is then behind it.
func (r *Reader) findArchive() error {
	r.f.mu.Lock()
	head := r.f.rec.Head
	var a archive
	for _, a = range r.f.rec.Archives {
		if r.pos < a.End {
			break
		}
	}
	r.f.mu.Unlock()
	switch {
	case r.pos >= head:
		return nil
	case r.pos >= a.End:
		return r.lose(head, nil)
	case r.pos < a.Start:
		return r.lose(a.Start, nil)
	}
	p, err := findPlace(r.f.path, r.f.user())
	if errors.Is(err, fs.ErrNotExist) {
		return r.lose(a.End, err)
	}
	if err != nil {
		return err
	}
	defer p.close()
	from, err := p.openArchive(a)
	if errors.Is(err, fs.ErrNotExist) {
		// Packed, or removed, since; or by somebody else, which is noted then.
		r.f.miss(a)
		return nil
	}
	if refused(err) {
		return r.lose(a.End, err)
	}
	if err != nil {
		return err
	}
	if err := from.begin(r.pos - a.Start); err != nil {
		from.close()
		return r.lose(a.End, err)
	}
	r.from = from
	return nil
}

// refused tells whether something else was put in the place of an archive.
func refused(err error) bool {
	var kind notRegular
	return errors.Is(err, errUnsafe) || errors.Is(err, unix.ELOOP) || errors.As(err, &kind)
}

func (r *Reader) readArchive(b []byte) (int, error) {
	end := r.from.end
	n, err := r.from.Read(b[:min(uint64(len(b)), end-r.pos)])
	r.pos += uint64(n)
	if n > 0 {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	r.closeArchive()
	return 0, r.lose(end, err)
}

// lose goes on at a position, for a reason or because what was before it was
// removed.
func (r *Reader) lose(to uint64, reason error) error {
	from := r.pos
	r.pos = to
	return &LostError{From: from, To: to, Err: reason}
}

// openArchive is an archive that is read. It can be read on when it is packed or
// removed.
type openArchive struct {
	io.ReadCloser // the content, from begin on
	file          *os.File
	packed        spec.Compression
	end           uint64 // a position
}

// openArchive opens an archive. fs.ErrNotExist: there is no file of that name.
func (p *place) openArchive(a archive) (*openArchive, error) {
	fd, err := p.open(a.Name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	_, c := cutEnding(a.Name)
	return &openArchive{file: os.NewFile(uintptr(fd), p.at(a.Name)), packed: c, end: a.End}, nil
}

// begin has the content read from its byte n on. An error means that the archive
// is damaged.
func (o *openArchive) begin(n uint64) error {
	var err error
	if o.ReadCloser, err = newUnpacker(o.file, o.packed); err != nil || n == 0 {
		return err
	}
	if o.packed == spec.NoCompression {
		_, err = o.file.Seek(int64(n), io.SeekStart)
		return err
	}
	_, err = io.CopyN(io.Discard, o.ReadCloser, int64(n))
	return err
}

func (o *openArchive) close() {
	// Nothing was written, so nothing can be lost.
	if o.ReadCloser != nil {
		_ = o.ReadCloser.Close()
	}
	_ = o.file.Close()
}

// miss takes an archive out of what is known that somebody else removed. If it is
// known by another name by now, it stays.
func (f *File) miss(a archive) {
	f.change(func() {
		for i, known := range f.rec.Archives {
			if known.Seq == a.Seq && known.Name == a.Name {
				f.rec.Archives = append(f.rec.Archives[:i:i], f.rec.Archives[i+1:]...)
				f.unsaved = true
				return
			}
		}
	})
}
