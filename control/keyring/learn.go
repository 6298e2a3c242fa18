package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// lockTimeout is how long another program may keep a known_hosts file locked,
// lockRetry how often it is asked meanwhile: flock has no time limit of its own.
const (
	lockTimeout = 5 * time.Second
	lockRetry   = 10 * time.Millisecond
)

// learn writes the key of a host that is not known into the first file; mu is
// held. Another program may have met the host first, with this key or another:
// what the file says once it is locked counts.
func (k *KnownHosts) learn(addr string, key ssh.PublicKey) (notice string, err error) {
	host := knownhosts.Normalize(addr)
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || strings.ContainsRune(",*?!|#@\"\x7f", r) }) {
		return "", fmt.Errorf("cannot write the host %q into a known_hosts file", host)
	}
	if len(k.Files) == 0 {
		return "", k.unknown(addr, key)
	}
	path := k.Files[0]
	wait := lockTimeout
	if k.impatient {
		wait = 0
	}
	f, err := openLocked(path, wait)
	k.impatient = errors.Is(err, errKeptLocked)
	if err != nil {
		return "", fmt.Errorf("cannot write the new host %s into %s: %w", host, path, reasonOf(err))
	}
	// Closing it also ends the lock.
	defer f.Close()
	if err := k.refresh(); err != nil {
		return "", err
	}
	if known, err := k.db.check(addr, key); known || err != nil {
		return "", err
	}
	grown, err := appendLine(f, knownhosts.Line([]string{addr}, key))
	if err != nil {
		return "", fmt.Errorf("cannot write the new host %s into %s: %w", host, path, reasonOf(err))
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err == nil && st.Size == k.db.stamps[0].size+grown {
		k.db.learnt[host] = learntKey{public: key, file: path}
		k.db.stamps[0] = identify(&st)
	} else {
		// OpenSSH, which takes no lock, has written something, too.
		k.db = nil
	}
	return fmt.Sprintf("the host %s is new: its %s key %s is trusted from now on, saved in %s",
		host, kindName(key), ssh.FingerprintSHA256(key), path), nil
}

// errKeptLocked is the error of a lock that another program does not let go.
var errKeptLocked = fmt.Errorf("another program has kept it locked for %v", lockTimeout)

// openLocked opens and locks the file that is at path once it is locked:
// ssh-keygen -R puts another in its place.
func openLocked(path string, wait time.Duration) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := lock(ctx, f); err != nil {
			_ = f.Close()
			return nil, err
		}
		mine, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		_ = f.Close()
		if ctx.Err() != nil {
			return nil, errors.New("it is replaced all the time")
		}
	}
}

func lock(ctx context.Context, f *os.File) error {
	retry := time.NewTicker(lockRetry)
	defer retry.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return errKeptLocked
		}
	}
}

// appendLine writes a whole line, on a line of its own, in one write, and
// returns by how much the file has grown. What cannot be written whole, because
// the disk is full, is taken away: half a line would make the file unreadable.
func appendLine(f *os.File, line string) (grown int64, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	text := line + "\n"
	if end > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, end-1); err != nil {
			return 0, err
		}
		if last[0] != '\n' {
			text = "\n" + text
		}
	}
	if n, err := f.WriteString(text); err != nil {
		if n > 0 {
			err = errors.Join(err, f.Truncate(end))
		}
		return 0, err
	}
	return int64(len(text)), nil
}
