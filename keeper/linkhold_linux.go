package keeper

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Held are the listeners that the keeper had for this server. The caller owns the
// descriptors.
func (l *Link) Held() []Held {
	if l == nil {
		return nil
	}
	return l.held
}

// Hold gives the keeper a listener to keep for the next server. The descriptor stays
// the caller's.
func (l *Link) Hold(h Held) {
	if l == nil || !l.holds {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	conn, err := l.file.SyscallConn()
	if err != nil {
		return
	}
	message, rights := []byte(wordHold+" "+h.Use+" "+h.Address), unix.UnixRights(h.FD)
	_ = l.file.SetWriteDeadline(time.Now().Add(patience))
	_ = conn.Write(func(fd uintptr) bool {
		return unix.Sendmsg(int(fd), message, rights, nil, unix.MSG_NOSIGNAL) != unix.EAGAIN
	})
}

// Asked gets a token when the keeper wants to hold the listeners: it is another
// version than the one that started this server. It is nil, so never ready, for a
// server without a keeper.
func (l *Link) Asked() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.asked
}

// Holds notes that the keeper takes listeners from now on. Nothing else may use the
// link meanwhile.
func (l *Link) Holds() { l.holds = true }

// Tells tells whether a service manager hears Status.
func (l *Link) Tells() bool { return l != nil && l.tells }

// Watchdog is how long the server may be silent before the keeper takes it for
// hung; 0 for any time.
func (l *Link) Watchdog() time.Duration {
	if l == nil {
		return 0
	}
	return l.watchdog
}

// Status says in a line how the children are.
func (l *Link) Status(text string) { l.report(wordStatus + " " + text) }

// Reloading says that the files are being read again, Reloaded that they have been.
func (l *Link) Reloading() { l.report(wordReloading) }

// Reloaded is the reverse of Reloading.
func (l *Link) Reloaded() { l.report(wordReloaded) }

// Stopping is what the keeper says by itself.
func (l *Link) Stopping() {}

// Beat says that the server is alive. Once it has said so it must go on, several
// times within Watchdog.
func (l *Link) Beat() { l.say(wordBeat) }

// Extend says that the end takes as much longer, from now on.
func (l *Link) Extend(by time.Duration) {
	l.report(wordExtend + " " + strconv.FormatInt(by.Microseconds(), 10))
}

// report says what is of interest to a service manager alone. A keeper of an
// earlier version would not understand it.
func (l *Link) report(message string) {
	if l.Tells() {
		l.say(message)
	}
}
