package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
)

// maxHead bounds the head of an answer, with those of the class 1xx before it.
const maxHead = 1 << 20

// errLongHead: the head is longer than maxHead.
var errLongHead = fmt.Errorf("the head of its answer is longer than %d bytes", maxHead)

// question is a request without a body, and what is wanted of its answer; see
// Client.call.
type question struct {
	path   string
	answer any
	sound  func() bool
}

// ask is call with a question.
func (c *Client) ask(ctx context.Context, q question) error {
	return c.call(ctx, http.MethodGet, q.path, nil, q.answer, q.sound)
}

// callTwo is ask with two questions over one connection: the second is on its way
// while the answer to the first is read. It is not asked where the first fails.
func (c *Client) callTwo(ctx context.Context, first, second question) (firstErr, secondErr error) {
	one, err := c.request(ctx, http.MethodGet, first.path, nil)
	if err != nil {
		return err, nil
	}
	two, err := c.request(ctx, http.MethodGet, second.path, nil)
	if err != nil {
		return err, nil
	}
	two.Close = true
	conn, response, err := c.roundTrip(ctx, one)
	if err != nil {
		return c.explain(ctx, err), nil
	}
	defer conn.Close()
	if response, err = c.success(response); err != nil {
		return err, nil
	}
	// A server that closes with a question unread resets the connection, and the rest
	// of its answer may be lost.
	isLast := response.Close
	sent := !isLast && conn.send(two) == nil
	err = c.decode(ctx, response, first.answer, first.sound)
	var lost *Unreachable
	if !isLast && errors.As(err, &lost) {
		sent = false
		err = c.ask(ctx, first)
	}
	if err != nil {
		return err, nil
	}
	if sent {
		if response, err = conn.receive(two); err == nil {
			if response, err = c.success(response); err != nil {
				return nil, err
			}
			return nil, c.decode(ctx, response, second.answer, second.sound)
		}
	}
	// The server ends with the first answer, or another one has taken over.
	return nil, c.ask(ctx, second)
}

// roundTrip sends a request over a connection of its own and returns both it and
// the answer. The connection ends with the body where request.Close is set.
//
// It is one write and one goroutine, where an http.Transport has three, and
// connections that it keeps: most clients ask once and end. The errors are those of
// the connection, or the context's.
func (c *Client) roundTrip(ctx context.Context, request *http.Request) (*clientConn, *http.Response, error) {
	nc, err := c.target.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	conn := newClientConn(ctx, nc)
	// The error is of no interest: a server that does not listen may have said why,
	// and one that has not is closed.
	_ = conn.send(request)
	response, err := conn.receive(request)
	if err != nil {
		_ = conn.Close()
		return nil, nil, conn.ended(err)
	}
	return conn, response, nil
}

// send writes a request at once: they are short.
func (c *clientConn) send(request *http.Request) error {
	var out bytes.Buffer
	if err := request.Write(&out); err != nil {
		return err
	}
	_, err := c.Conn.Write(out.Bytes())
	return err
}

func newClientConn(ctx context.Context, nc net.Conn) *clientConn {
	conn := &clientConn{Conn: nc, why: ctx.Err}
	// Closing is what every kind of connection can do.
	conn.stop = context.AfterFunc(ctx, func() { _ = nc.Close() })
	conn.head = &io.LimitedReader{R: conn}
	conn.in = bufio.NewReader(conn.head)
	return conn
}

// receive reads the head of an answer. The body closes the connection where the
// request was the last.
func (c *clientConn) receive(request *http.Request) (*http.Response, error) {
	c.head.N = maxHead
	for {
		response, err := http.ReadResponse(c.in, request)
		if err != nil && c.head.N <= 0 {
			return nil, errLongHead
		}
		if err != nil {
			return nil, err
		}
		// Those of the class 1xx come before the answer.
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			c.head.N = math.MaxInt64
			response.Body = &clientBody{ReadCloser: response.Body, conn: c, isLast: request.Close}
			return response, nil
		}
	}
}

// Close may be called more than once.
func (c *clientConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// ended is err, or why the context ended where that closed the connection.
func (c *clientConn) ended(err error) error {
	if ended := c.why(); ended != nil {
		return ended
	}
	return err
}

// readBody reads a body, or more than maxResponse of it.
func readBody(response *http.Response) ([]byte, error) {
	var content bytes.Buffer
	if n := response.ContentLength; n > 0 && n <= maxResponse {
		// What it reads into has to have more room than there is.
		content.Grow(int(n) + bytes.MinRead)
	}
	_, err := content.ReadFrom(io.LimitReader(response.Body, maxResponse+1))
	return content.Bytes(), err
}

// clientBody is the body of an answer.
type clientBody struct {
	io.ReadCloser
	conn   *clientConn
	isLast bool
}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.conn.ended(err)
	}
	return n, err
}

// Close does not read what is left of the last body.
func (b *clientBody) Close() error {
	if b.isLast {
		return b.conn.Close()
	}
	return b.ReadCloser.Close()
}
