package control

import (
	"bufio"
	"bytes"
	"net/http"
)

// framing follows where one request of an HTTP connection ends and the next
// begins. The HTTP server reads ahead into a buffer of its own; it is given no
// byte beyond the request it is at, so that what came of the next one is known
// when the connection is handed over.
//
// The exception is one byte: while a request is answered the server waits for
// the next to notice when the client leaves.
type framing struct {
	// head are the bytes of a request whose head is not complete.
	head []byte
	// body is how many bytes of the body are to come.
	body int64
	// endless: where the request ends is not known here. Its body is chunked,
	// or it is no HTTP. The connection ends with its answer.
	endless bool
}

// take returns how many of the bytes may be passed on together, at least one,
// and whether they complete the head of a request.
func (f *framing) take(p []byte) (n int, complete bool) {
	if f.endless {
		return len(p), false
	}
	if f.body > 0 {
		n = int(min(f.body, int64(len(p))))
		f.body -= int64(n)
		return n, false
	}
	before := len(f.head)
	f.head = append(f.head, p...)
	end := headEnd(f.head, before)
	if end < 0 {
		return len(p), false
	}
	// Read as the HTTP server reads it, so that both see the same length.
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(f.head[:end])))
	if err != nil || len(r.TransferEncoding) > 0 || r.ContentLength < 0 {
		f.endless = true
		return len(p), true
	}
	f.head, f.body = nil, r.ContentLength
	return end - before, true
}

// headEnd is where the empty line ends that closes a head, or -1. Nothing
// before `from` ends one.
func headEnd(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		line := bytes.TrimSuffix(b[:i], []byte("\r"))
		if len(line) == 0 || line[len(line)-1] == '\n' {
			return i + 1
		}
	}
	return -1
}
