package keyring

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"kita/control/owned"
)

const (
	extPEM     = ".pem"
	extOpenSSH = ".pub"
	// maxKeyFile bounds a key's file, in bytes; RSA of 16,384 bits takes 12 KiB.
	maxKeyFile = 64 << 10
	// maxName is what file systems leave beside the extension, in bytes.
	maxName = 255 - len(extPEM)
)

// file is a key's file.
type file struct {
	path, name string
	// public is set where the file has a key, even one that must not be used;
	// wire is its form in the protocol.
	public ssh.PublicKey
	wire   []byte
	// err says why it is not used, unsafe why nothing in its directory is.
	err, unsafe error
}

func (f file) problem() error {
	if f.err != nil {
		return f.err
	}
	return f.unsafe
}

// cached is what a file had when it was read.
type cached struct {
	file
	identity identity
}

// identity is the same only while nobody has touched the file.
type identity struct {
	dev, inode     uint64
	size           int64
	mtime, ctime   int64 // in nanoseconds since 1970
	mode, uid, gid uint32
}

// identify is the identity of what st describes. The widths of the fields are
// those of the system.
func identify(st *unix.Stat_t) identity {
	return identity{
		dev: uint64(st.Dev), inode: uint64(st.Ino), size: st.Size,
		mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
		mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid,
	}
}

// settle is how long after its last change a file may still change without a
// trace, because the clock of the file system has not moved on.
const settle = 2 * time.Second

// settled tells whether a file that was read at now would show a later change.
// One that could not be read has no identity.
func (i identity) settled(now time.Time) bool {
	return i != identity{} && now.UnixNano()-i.ctime > int64(settle)
}

// saneName tells whether a name can be written into a log, into a rule of
// access, and before the @ of an address.
func saneName(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '.' || !utf8.ValidString(name) || strings.ContainsAny(name, "@/") {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) })
}

// lookAround looks at every file, or waits for a look that another has begun
// meanwhile: strangers who offer keys must not keep the disk busy.
func (r *Ring) lookAround() look {
	asked := r.count(0)
	r.looking.Lock()
	defer r.looking.Unlock()
	if r.count(0) == asked {
		r.count(1)
		r.last = r.scan()
	}
	return r.last
}

// count adds to the looks that have begun, and returns them.
func (r *Ring) count(more uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun += more
	return r.begun
}

// scan looks at every file, and forgets those that are gone.
func (r *Ring) scan() look {
	l := look{}
	known, fresh := r.remembered(), map[string]cached{}
	r.eachDir(&l, func(dir directory) {
		entries, err := os.ReadDir(dir.real)
		if err != nil {
			l.problems = append(l.problems, fmt.Sprintf("%s: cannot be read: %v", dir.path, reasonOf(err)))
			return
		}
		for _, entry := range entries {
			name, extension := splitName(entry.Name())
			if extension == "" || strings.HasPrefix(name, ".") {
				// A file of something else, or an editor's.
				continue
			}
			if !saneName(name) {
				path := filepath.Join(dir.path, entry.Name())
				l.problems = append(l.problems, fmt.Sprintf("%q: is not used, because the name of a key has no spaces, no @ and no control characters", path))
				continue
			}
			r.add(&l, dir, entry.Name(), known, fresh)
		}
	})
	r.remember(fresh)
	return l
}

// lookFor looks at the files of one name.
func (r *Ring) lookFor(name string) look {
	l := look{}
	known, fresh := r.remembered(), map[string]cached{}
	changed := false
	var paths []string
	r.eachDir(&l, func(dir directory) {
		for _, extension := range []string{extPEM, extOpenSSH} {
			path := filepath.Join(dir.path, name+extension)
			r.add(&l, dir, name+extension, known, fresh)
			changed = changed || known[path].identity != fresh[path].identity
			paths = append(paths, path)
		}
	})
	if changed {
		// Others read known meanwhile.
		known = maps.Clone(known)
		for _, path := range paths {
			delete(known, path)
		}
		maps.Copy(known, fresh)
		r.remember(known)
	}
	return l
}

// remembered is the cache, which nobody writes to: it is replaced as a whole, so
// that no lock is held while files are read.
func (r *Ring) remembered() map[string]cached {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache
}

func (r *Ring) remember(fresh map[string]cached) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache = fresh
}

// splitName is extension "" for a file that is no key's.
func splitName(base string) (name, extension string) {
	for _, extension := range []string{extPEM, extOpenSSH} {
		if name, ok := strings.CutSuffix(base, extension); ok {
			return name, extension
		}
	}
	return base, ""
}

// directory is one of the ring's.
type directory struct {
	// path is as it was named, real is without symbolic links.
	path, real string
	// unsafe says why none of its files may be used.
	unsafe error
}

// eachDir calls visit for each directory once, however it is spelled.
func (r *Ring) eachDir(l *look, visit func(directory)) {
	var seen []identity
	for _, path := range r.dirs() {
		dir := directory{path: filepath.Clean(path)}
		l.dirs = append(l.dirs, dir.path)
		var st unix.Stat_t
		var err error
		if dir.real, err = owned.Resolve(dir.path); err == nil {
			err = unix.Stat(dir.real, &st)
		}
		if err != nil {
			l.problems = append(l.problems, fmt.Sprintf("%s: cannot be read: %v", dir.path, reasonOf(err)))
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			l.problems = append(l.problems, dir.path+": is no directory")
			continue
		}
		id := identify(&st)
		if slices.ContainsFunc(seen, func(i identity) bool { return i.dev == id.dev && i.inode == id.inode }) {
			continue
		}
		seen = append(seen, id)
		if err := cmp.Or(owned.Check(&st), owned.CheckParents(dir.real)); err != nil {
			l.problems = append(l.problems, fmt.Sprintf("%s: %v", dir.path, err))
			dir.unsafe = fmt.Errorf("its directory %w", err)
		}
		visit(dir)
	}
}

// add adds the file of that name if there is one.
func (r *Ring) add(l *look, dir directory, base string, known, fresh map[string]cached) {
	path := filepath.Join(dir.path, base)
	target, st, err := find(filepath.Join(dir.real, base))
	if errors.Is(err, errNone) {
		return
	}
	c := examine(path, target, st, err, known[path])
	if c.identity.settled(r.now()) {
		fresh[path] = c
	}
	f := c.file
	f.unsafe = dir.unsafe
	if f.err == nil && filepath.Dir(target) != dir.real {
		// It is elsewhere, where others might replace it.
		f.err = owned.CheckParents(target)
	}
	l.files = append(l.files, f)
}

// errNone: there is nothing of that name.
var errNone = errors.New("there is no such file")

// find follows a symbolic link.
func find(path string) (target string, st unix.Stat_t, err error) {
	switch err := unix.Lstat(path, &st); {
	case errors.Is(err, unix.ENOENT):
		return path, st, errNone
	case err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK:
		return path, st, err
	}
	target, err = filepath.EvalSymlinks(path)
	if err == nil {
		err = unix.Stat(target, &st)
	}
	return target, st, reasonOf(err)
}

// examine reads the file at target, unless it is the one that was read
// before. err is why it was not found.
func examine(path, target string, st unix.Stat_t, err error, before cached) cached {
	name, extension := splitName(filepath.Base(path))
	c := cached{file: file{path: path, name: name}}
	if err != nil {
		c.err = fmt.Errorf("cannot be read: %w", err)
		return c
	}
	if before.path == path && before.identity == identify(&st) {
		return before
	}
	text, st, err := readKeyFile(target)
	if err != nil {
		// Not to be kept: what the identity is of has not been read.
		c.err = err
		return c
	}
	c.identity = identify(&st)
	if c.public, c.err = parsePublic(extension, text); c.public != nil {
		c.wire = c.public.Marshal()
	}
	if err := owned.Check(&st); err != nil {
		c.err = err
	}
	return c
}

// readKeyFile reads a file that may be anything: a FIFO would block, a device
// have no end.
func readKeyFile(path string) ([]byte, unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, st, fmt.Errorf("cannot be read: %w", reasonOf(err))
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, st, fmt.Errorf("cannot be read: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, st, errors.New("is no regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, st, fmt.Errorf("cannot be read: %w", reasonOf(err))
	}
	if len(text) > maxKeyFile {
		return nil, st, fmt.Errorf("is longer than %d bytes, a key is not", maxKeyFile)
	}
	return text, st, nil
}

// reasonOf is an error of the system without the path, which the line has
// already.
func reasonOf(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
