package pump

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kita/spec"
)

// version is that of the messages. It changes when one that does not know the
// other would take it wrongly. Hello and finish stay what they are.
const version = 2

const (
	// maxMessage is longer than any message: a held line in base64 and paths.
	maxMessage = 160 << 10
	// maxFDs is the most descriptors that come with a message.
	maxFDs = 3
	// sendPatience is how long the other side may take to read.
	sendPatience = 2 * time.Second
)

// op says what a message is.
type op string

const (
	// opHello is the first of the server's, and of the pump's answers, which has
	// the pump's version. Its streams come before it, in opStream.
	opHello op = "hello"
	// opAttach has the FIFO and the file with it, and what an earlier pump left
	// where there was one. It is answered by opDone.
	opAttach op = "attach"
	// opDiscard forgets a stream without a look at what is left in it.
	opDiscard op = "discard"
	// opDrain is answered by opDone once that is done.
	opDrain op = "drain"
	// opPing is answered by opDone, if the pump is well.
	opPing op = "ping"
	// opFinish has the pump end. It answers with opLeft for each stream, which
	// another pump will take over, and closes the connection.
	opFinish op = "finish"

	// opDone answers opAttach, opDiscard or opDrain.
	opDone op = "done"
	// opStream tells what the pump has of a stream, with its FIFO and its file.
	opStream op = "stream"
	// opStats tells what has changed, unasked.
	opStats op = "stats"
	// opLeft has what a pump that ends leaves of a stream.
	opLeft op = "left"
)

// message is one packet between server and pump.
type message struct {
	Op op `json:"op"`
	// ID is in an answer what it is in the question.
	ID uint64 `json:"id,omitempty"`
	// Version is in opHello.
	Version int `json:"version,omitempty"`
	// Error is in opDone; empty for success.
	Error string `json:"error,omitempty"`
	// Key is in all that is about one stream.
	Key *Key `json:"key,omitempty"`
	// Attach is in opAttach and opStream.
	Attach *attachment `json:"attach,omitempty"`
	// Left is in opAttach and opLeft.
	Left *remains `json:"left,omitempty"`
	// Stats are in opStats, and one in opStream.
	Stats []streamStats `json:"stats,omitempty"`
}

// attachment says how a stream is written. Its FIFO and its file come with it,
// and after them what an earlier pump could not write, if there is something.
type attachment struct {
	// Name is that of the FIFO in the directory of FIFOs.
	Name       string      `json:"name"`
	Format     spec.Format `json:"format"`
	Timestamps bool        `json:"timestamps,omitempty"`
	Prefix     bool        `json:"prefix,omitempty"`
	OnFull     spec.OnFull `json:"on_full,omitempty"`
}

// remains is what a pump leaves of a stream to the next one.
type remains struct {
	// Held is the unfinished line, of whose beginning Begun bytes are in the file.
	Held  []byte `json:"held,omitempty"`
	Begun int    `json:"begun,omitempty"`
	// Torn: the pump was killed, so that it left nothing, and a line may be cut off.
	Torn bool `json:"torn,omitempty"`
	// Stats are the counts up to then.
	Stats Stats `json:"stats"`
}

// streamStats are the stats of one stream. Ended: it is forgotten now.
type streamStats struct {
	Key   Key  `json:"key"`
	Ended bool `json:"ended,omitempty"`
	Stats
}

// link is one end of a connection.
type link struct {
	conn *net.UnixConn
	// sending is held by the one who sends.
	sending sync.Mutex
}

// newLink takes over a socket.
func newLink(f *os.File) (*link, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return &link{conn: conn.(*net.UnixConn)}, nil
}

// send sends a message with copies of the descriptors.
func (l *link) send(m message, fds ...int) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(text))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	l.sending.Lock()
	defer l.sending.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	_, _, err = l.conn.WriteMsgUnix(text, rights, nil)
	return err
}

// receive waits for a message. The caller closes the descriptors. buf has room
// for the longest one.
func (l *link) receive(buf []byte) (message, []int, error) {
	rights := make([]byte, unix.CmsgSpace(4*maxFDs))
	n, nr, flags, _, err := l.conn.ReadMsgUnix(buf, rights)
	if err != nil {
		return message{}, nil, err
	}
	fds := descriptorsIn(rights[:nr])
	switch {
	case n == 0:
		err = io.EOF
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a message is cut off")
	}
	var m message
	if err == nil {
		err = json.Unmarshal(buf[:n], &m)
	}
	if err != nil {
		closeAll(fds)
		return message{}, nil, err
	}
	return m, fds, nil
}

// descriptorsIn returns those that came with a message, close-on-exec.
func descriptorsIn(rights []byte) []int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	var all []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// checkPeer tells whether the other end is of the same user.
func (l *link) checkPeer() error {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(ctlErr, err); err != nil {
		return err
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("the other end belongs to user %d", cred.Uid)
	}
	return nil
}
