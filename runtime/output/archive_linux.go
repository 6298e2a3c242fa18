package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// seqDigits is the least that the number of an archive has in its name.
const seqDigits = 6

// archiveName is that of archive seq of the file called name, not packed.
func archiveName(name string, seq uint64) string {
	return fmt.Sprintf("%s.%0*d", name, seqDigits, seq)
}

// archiveSeq is the number in the name of an archive, packed or not.
func archiveSeq(name string) (seq uint64, ok bool) {
	name, _ = cutEnding(name)
	i := strings.LastIndexByte(name, '.')
	digits := name[i+1:]
	if i <= 0 || len(digits) < seqDigits {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil && archiveName(name[:i], seq) == name
}

// cutEnding tells from the name of an archive how it is packed.
func cutEnding(name string) (string, spec.Compression) {
	for c, ending := range endings {
		if rest, ok := strings.CutSuffix(name, ending); ok {
			return rest, c
		}
	}
	return name, spec.NoCompression
}

// tempName is that of a file that serves kind for the output file called name.
func tempName(name, kind string) string { return "." + name + ".kita-" + kind }

// What temporary files are for.
const (
	toCopy = "tmp"
	toPack = "pack"
)

// errTruncated: the live file became smaller while it was rotated.
var errTruncated = errors.New("it was truncated by somebody meanwhile")

// cut makes an archive of what lies before the position end, and moves the head
// there. Where there is no room for all of it, it makes several parts, one after
// the other, and frees what each one holds.
func (w *work) cut(ctx context.Context, end uint64) error {
	if w.rules.Keep == 0 {
		rec := w.f.record()
		seam, err := w.seamAt(int64(end - rec.Base))
		if err != nil {
			return err
		}
		return w.commit(rec.Base, end, seam, nil)
	}
	for {
		to, err := w.fitting(w.f.record().Head, end)
		if err != nil {
			return err
		}
		if err := w.cutPart(ctx, to, to < end); err != nil || to == end {
			return err
		}
		if err := w.free(); err != nil {
			return err
		}
		if w.f.record().Head != to {
			return w.failed("rotate", errTruncated)
		}
	}
}

// cutPart makes one archive. Once the record has it, what it holds is read from
// there. A crash before leaves the live file as it was.
func (w *work) cutPart(ctx context.Context, end uint64, part bool) error {
	rec := w.f.record()
	seam, err := w.seamAt(int64(end - rec.Base))
	if err != nil {
		return err
	}
	seq, err := w.number(rec.Next)
	if err != nil {
		return err
	}
	if err := w.announce(seq); err != nil {
		return err
	}
	w.f.shared.passed(afterMaking)
	a := archive{Seq: seq, Name: archiveName(w.place.name, seq), Start: rec.Head, End: end, At: w.now, Part: part}
	a.Size, err = w.write(ctx, a.Name, rec.Head-rec.Base, end-rec.Head)
	if err != nil {
		return err
	}
	w.f.shared.passed(afterRename)
	err = w.commit(rec.Base, end, seam, &a)
	if err != nil && w.f.isSaved() {
		// A full disk needs the space.
		err = errors.Join(err, w.place.remove(a.Name))
	}
	return err
}

// announce records that archive seq is being made. On a full disk it removes what
// an archive more would remove anyway.
func (w *work) announce(seq uint64) error {
	making := func(r *record) error { r.Making = seq; return nil }
	err := w.f.update(making)
	if !full(err) {
		return err
	}
	freed, pruneErr := w.f.pruneFor(w.now)
	if freed {
		return w.f.update(making)
	}
	return errors.Join(err, pruneErr)
}

// commit moves the head of the file that begins at base, with its archive. seam is
// what lies before end.
func (w *work) commit(base, end uint64, seam []byte, a *archive) error {
	err := w.f.update(func(r *record) error {
		if r.Base != base {
			return w.f.failed("rotate", errTruncated)
		}
		r.Head, r.Seam, r.Making, r.LastCut = end, seam, 0, w.now
		r.Rotations++
		if a != nil {
			r.Next = a.Seq + 1
			r.Archives = append(r.Archives, *a)
		}
		return nil
	})
	if err == nil {
		w.f.shared.passed(afterCommit)
	}
	return err
}

// number is the least from next on that no file here has, as far as the first
// look at the directory told.
func (w *work) number(next uint64) (uint64, error) {
	if w.taken == nil {
		names, err := w.place.names()
		if err != nil {
			return 0, err
		}
		w.taken = map[uint64]bool{}
		for _, name := range names {
			if seq, ok := archiveSeq(name); ok && strings.HasPrefix(name, w.place.name+".") {
				w.taken[seq] = true
			}
		}
	}
	for w.taken[next] {
		next++
	}
	return next, nil
}

// removeRegular removes a file of the directory if it is a regular one.
func (p *place) removeRegular(name string) error {
	st, err := p.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return err
	}
	return p.remove(name)
}

// write makes an archive called name of n bytes at the offset from of the live
// file. On a full disk, or one of which the user has no more, it removes what an
// archive more would remove anyway.
func (w *work) write(ctx context.Context, name string, from, n uint64) (size uint64, err error) {
	size, err = w.writeOnce(ctx, name, from, n)
	if !full(err) {
		return size, err
	}
	freed, pruneErr := w.f.pruneFor(w.now)
	if freed {
		return w.writeOnce(ctx, name, from, n)
	}
	return 0, errors.Join(err, pruneErr)
}

func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// writeOnce writes the archive under a temporary name first. It is on the disk
// when it gets its own.
func (w *work) writeOnce(ctx context.Context, name string, from, n uint64) (size uint64, err error) {
	tmp := tempName(w.place.name, toCopy)
	fd, err := w.createLike(tmp)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	err = copyRange(ctx, fd, w.live, int64(from), int64(n))
	if err == nil {
		err = unix.Fdatasync(fd)
	}
	var st unix.Stat_t
	if err == nil {
		st, err = statFD(fd)
	}
	if err != nil {
		return 0, errors.Join(w.place.failed("write", name, err), w.place.remove(tmp))
	}
	w.f.shared.passed(afterCopy)
	if err := w.place.rename(tmp, name); err != nil {
		return 0, errors.Join(err, w.place.remove(tmp))
	}
	return uint64(st.Size), w.place.sync()
}

// createLike makes a file of the mode and owner of the live one.
func (w *work) createLike(name string) (int, error) {
	st, err := statFD(w.live)
	if err != nil {
		return -1, w.f.failed("stat", err)
	}
	if err := w.place.remove(name); err != nil {
		return -1, err
	}
	fd, err := w.place.create(name, st.Mode&0o777)
	if err != nil {
		return -1, err
	}
	// Only root can give it to another user; who else made the live file is us.
	_ = unix.Fchown(fd, int(st.Uid), int(st.Gid))
	return fd, nil
}

// copyPiece is how much is copied between two looks at the context.
const copyPiece = 4 << 20

// copyRange copies n bytes at the offset from of src to the beginning of dst.
// The kernel does it where it can; it shares the blocks where the file system
// can and the offset is that of a block, which it is for a first archive.
func copyRange(ctx context.Context, dst, src int, from, n int64) error {
	at, to := from, int64(0)
	for to < n {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := int(min(n-to, copyPiece))
		got, err := unix.CopyFileRange(src, &at, dst, &to, piece, 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EXDEV, err == unix.EINVAL, err == unix.EOPNOTSUPP, err == unix.ENOSYS, err == nil && got == 0:
			return copyByHand(ctx, dst, src, at, to, n-to)
		case err != nil:
			return err
		default:
			// So that the sync at the end has less to wait for. A hint.
			_ = unix.SyncFileRange(dst, to-int64(got), int64(got), unix.SYNC_FILE_RANGE_WRITE)
		}
	}
	return nil
}

func copyByHand(ctx context.Context, dst, src int, from, to, n int64) error {
	buf := make([]byte, readPiece)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := preadEINTR(src, buf[:min(n, int64(len(buf)))], from)
		if err != nil {
			return err
		}
		if got == 0 {
			return errTruncated
		}
		if err := pwriteAll(dst, buf[:got], to); err != nil {
			return err
		}
		from, to, n = from+int64(got), to+int64(got), n-int64(got)
	}
	return nil
}

func preadEINTR(fd int, b []byte, at int64) (int, error) {
	for {
		n, err := unix.Pread(fd, b, at)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// mostLine is how far beyond the size of an archive the end of a line is looked
// for.
const mostLine = 1 << 20

// chooseEnd is where an archive ends that begins at head: at the last line end
// before its size is reached, else at the next one, else at its size.
func (w *work) chooseEnd(head, end uint64) (uint64, error) {
	full := head + w.rules.Size
	to, ok, err := w.lastLineEnd(head, full)
	if ok || err != nil {
		return to, err
	}
	return w.nextLineEnd(full, end)
}

// nextLineEnd is the position after the first line end from a position on; that
// position itself where none follows before end, or only far from there.
func (w *work) nextLineEnd(from, end uint64) (uint64, error) {
	base := w.f.base()
	buf := make([]byte, mostLine)
	n, err := preadEINTR(w.live, buf[:min(mostLine, end-min(from, end))], int64(from-base))
	if err != nil {
		return 0, w.f.failed("read", err)
	}
	if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
		return from + uint64(i) + 1, nil
	}
	return from, nil
}

// lastLineEnd is the position after the last line end in [from, to).
func (w *work) lastLineEnd(from, to uint64) (end uint64, ok bool, err error) {
	base := w.f.base()
	buf := make([]byte, readPiece)
	for to > from {
		begin := max(from, to-min(to, readPiece))
		n, err := preadEINTR(w.live, buf[:to-begin], int64(begin-base))
		if err != nil {
			return 0, false, w.f.failed("read", err)
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return begin + uint64(i) + 1, true, nil
		}
		to = begin
	}
	return 0, false, nil
}
