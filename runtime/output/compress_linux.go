package output

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"kita/spec"
)

// endings are what the names of packed archives end in.
var endings = map[spec.Compression]string{spec.Zstd: ".zst", spec.Gzip: ".gz"}

// newPacker packs what is written to it, in the calling goroutine, as fast as
// can be.
func newPacker(w io.Writer, c spec.Compression) (io.WriteCloser, error) {
	if c == spec.Gzip {
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

// mostWindow is how much memory a packed archive may ask a reader for; kita's
// own ask for 4 MiB. The directory may be an ordinary user's.
const mostWindow = 8 << 20

// newUnpacker is the content of an archive.
func newUnpacker(r io.Reader, c spec.Compression) (io.ReadCloser, error) {
	switch c {
	case spec.Zstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(mostWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case spec.Gzip:
		d, err := gzip.NewReader(r)
		if err != nil {
			return nil, err // and no interface around a nil
		}
		return d, nil
	}
	return io.NopCloser(r), nil
}

// packRange writes n bytes at the offset from of src to dst, packed. It leaves the
// programs some room, see forPacking; without that the error is unix.ENOSPC.
func packRange(ctx context.Context, dst, src int, from, n int64, c spec.Compression) error {
	packer, err := newPacker(&fdWriter{fd: dst}, c)
	if err != nil {
		return err
	}
	got, err := io.CopyBuffer(packer, &fdReader{ctx: ctx, fd: src, at: from, left: n}, make([]byte, readPiece))
	if err == nil && got < n {
		err = errTruncated
	}
	if err != nil {
		_ = packer.Close() // which may only say it again
		return err
	}
	return packer.Close()
}

// fdReader reads left bytes of fd from the offset at, until ctx ends.
type fdReader struct {
	ctx      context.Context // of the one call that it lives for
	fd       int
	at, left int64
}

func (r *fdReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := preadEINTR(r.fd, b[:min(int64(len(b)), r.left)], r.at)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	r.at, r.left = r.at+int64(n), r.left-int64(n)
	return n, nil
}

// fdWriter appends to fd at the offset that the kernel keeps, as long as there is
// room for what is packed.
type fdWriter struct {
	fd int
	// room is how many bytes may be written before it is looked at again.
	room int
}

// mostBlind is how much is written without a look at the room that there is.
const mostBlind = 1 << 20

func (w *fdWriter) Write(b []byte) (int, error) {
	if w.room < len(b) {
		s, err := spaceBeside(w.fd)
		if err != nil {
			return 0, err
		}
		room := s.forPacking()
		if room < uint64(len(b)) {
			return 0, unix.ENOSPC
		}
		w.room = int(min(room, uint64(max(mostBlind, len(b)))))
	}
	w.room -= len(b)
	written := 0
	for written < len(b) {
		n, err := unix.Write(w.fd, b[written:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// pack packs the archives that the rules want packed, one after the other and in
// the whole process one at a time. It takes a while and needs no care: a new
// server does what was left over.
func (f *File) pack(ctx context.Context) error {
	select {
	case f.shared.packing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.shared.packing }()
	for {
		a, c, ok := f.nextToPack()
		if !ok {
			return nil
		}
		if err := politely(func() error { return f.packOne(ctx, a, c) }); err != nil {
			return f.failed("pack "+a.Name+" of", err)
		}
	}
}

// packs tells whether pack has something to do.
func (f *File) packs() bool {
	_, _, ok := f.nextToPack()
	return ok
}

func (f *File) nextToPack() (archive, spec.Compression, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rules == nil || endings[f.rules.Compress] == "" {
		return archive{}, "", false
	}
	for _, a := range f.rec.Archives {
		if _, c := cutEnding(a.Name); c == spec.NoCompression && !f.stuck[a.Seq] {
			return a, f.rules.Compress, true
		}
	}
	return archive{}, "", false
}

// packOne puts a packed archive in the place of one that is not. There is one of
// them that the record names, at any time.
func (f *File) packOne(ctx context.Context, a archive, c spec.Compression) error {
	p, err := findPlace(f.path, f.user())
	if err != nil {
		return err
	}
	defer p.close()
	src, err := p.open(a.Name, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := f.forget(a.Seq)
		return err
	}
	if err != nil {
		return err
	}
	defer unix.Close(src)
	name, tmp := a.Name+endings[c], tempName(p.name, toPack)
	size, err := packTo(ctx, p, tmp, src, a, c)
	if errors.Is(err, errTruncated) {
		// It is not what was made. A reader is told what is missing.
		f.leave(a.Seq)
		return p.remove(tmp)
	}
	if err != nil {
		return errors.Join(err, p.remove(tmp))
	}
	f.shared.passed(afterPacking)
	err = p.rename(tmp, name)
	if errors.Is(err, fs.ErrExist) {
		f.leave(a.Seq)
		return p.remove(tmp)
	}
	if err == nil {
		err = p.sync()
	}
	if err != nil {
		return errors.Join(err, p.remove(tmp))
	}
	f.shared.passed(afterPackName)
	return f.swap(p, a, name, size)
}

// packTo writes the packed archive to a temporary file, with the time at which
// the archive was made.
func packTo(ctx context.Context, p *place, tmp string, src int, a archive, c spec.Compression) (size uint64, err error) {
	st, err := statFD(src)
	if err != nil {
		return 0, p.failed("stat", a.Name, err)
	}
	if err := p.remove(tmp); err != nil {
		return 0, err
	}
	fd, err := p.create(tmp, st.Mode&0o777)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	// As with the archive itself.
	_ = unix.Fchown(fd, int(st.Uid), int(st.Gid))
	if err := packRange(ctx, fd, src, 0, int64(a.End-a.Start), c); err != nil {
		return 0, p.failed("write", tmp, err)
	}
	if err := os.Chtimes(fdPath(fd), time.Time{}, a.At); err != nil {
		return 0, err
	}
	if err := unix.Fdatasync(fd); err != nil {
		return 0, p.failed("sync", tmp, err)
	}
	packed, err := statFD(fd)
	return uint64(packed.Size), err
}

// swap has the record name the packed archive, and removes the other one. One of
// the two is left where retention removed the archive meanwhile: it goes.
func (f *File) swap(p *place, a archive, name string, size uint64) error {
	kept := false
	err := f.update(func(r *record) error {
		for i := range r.Archives {
			if r.Archives[i].Seq == a.Seq {
				r.Archives[i].Name, r.Archives[i].Size, kept = name, size, true
			}
		}
		return nil
	})
	if err != nil {
		// What is on disk names one of the two.
		return err
	}
	f.shared.passed(afterPackNote)
	if !kept {
		return p.remove(name)
	}
	return p.remove(a.Name)
}

// leave has an archive not packed by this server.
func (f *File) leave(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck == nil {
		f.stuck = map[uint64]bool{}
	}
	f.stuck[seq] = true
}
