package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// hammer is clients that ask without a pause and forgive nothing: not a refused
// connection, not one that ends before its answer, not an answer of error.
type hammer struct {
	in *instance

	cancel  context.CancelFunc
	clients sync.WaitGroup
	mu      sync.Mutex
	answers int      // mu
	failed  int      // mu
	errors  []string // mu
}

func (in *instance) hammer(t *testing.T) *hammer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h := &hammer{in: in, cancel: cancel}
	kinds := []func() (asker, error){
		func() (asker, error) { return in.kept("unix", in.socket) },
		func() (asker, error) { return in.kept("tcp", in.tcp) },
		func() (asker, error) { return in.fresh("unix", in.socket), nil },
		func() (asker, error) { return in.fresh("tcp", in.tcp), nil },
		func() (asker, error) { return in.text(), nil },
	}
	for _, kind := range kinds {
		h.clients.Go(func() { h.client(ctx, kind) })
	}
	t.Cleanup(h.stop)
	return h
}

func (h *hammer) stop() {
	h.cancel()
	h.clients.Wait()
}

// asker asks once; nil is a good answer.
type asker interface{ ask() error }

type askerFunc func() error

func (f askerFunc) ask() error { return f() }

func (h *hammer) client(ctx context.Context, kind func() (asker, error)) {
	var a asker
	// A little apart, because the two processors are for kita.
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	defer func() {
		if c, ok := a.(io.Closer); ok {
			_ = c.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var err error
		if a == nil {
			a, err = kind()
		}
		if err == nil {
			err = a.ask()
		}
		h.note(err)
		if err != nil {
			a = nil
		}
	}
}

func (h *hammer) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.answers++
		return
	}
	h.failed++
	if len(h.errors) < 20 {
		h.errors = append(h.errors, err.Error())
	}
}

func (h *hammer) judge(t *testing.T, c *trial) {
	t.Helper()
	h.stop()
	if h.failed > 0 || h.answers == 0 {
		t.Errorf("%d client errors, %d answers:\n%s", h.failed, h.answers, strings.Join(h.errors, "\n"))
	}
	c.measure("%d client errors in %d answers", h.failed, h.answers)
}

// keptConn is a connection on which one request follows the other.
type keptConn struct {
	net.Conn
	from    *bufio.Reader
	request string
	dial    func() (net.Conn, error)
}

func (in *instance) kept(network, address string) (asker, error) {
	k := &keptConn{request: get(in.tcp), dial: func() (net.Conn, error) { return net.DialTimeout(network, address, patience) }}
	return k, k.connect()
}

func get(host string) string {
	return "GET /v1/children/" + forever + "-0 HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
}

func (k *keptConn) connect() (err error) {
	k.Conn, err = k.dial()
	if err == nil {
		k.from = bufio.NewReader(k.Conn)
	}
	return err
}

func (k *keptConn) ask() error {
	if err := k.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	status, closes, err := converseKept(k.Conn, k.from, k.request)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		_ = k.Close()
		return fmt.Errorf("a kept connection of %s: %w", k.RemoteAddr().Network(), err)
	}
	if closes {
		// The server said that it would.
		_ = k.Close()
		return k.connect()
	}
	return nil
}

// fresh asks on a new connection each time.
func (in *instance) fresh(network, address string) asker {
	return askerFunc(func() error {
		conn, err := net.DialTimeout(network, address, patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		status, _, err := converse(conn, bufio.NewReader(conn), get(in.tcp))
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		if err != nil {
			return fmt.Errorf("a new connection of %s: %w", network, err)
		}
		return nil
	})
}

// text asks in the protocol of supervisor-rs.
func (in *instance) text() asker {
	return askerFunc(func() error {
		conn, err := net.DialTimeout("tcp", in.tcp, patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "check "+forever+"-0\n"); err != nil {
			return err
		}
		answer, err := io.ReadAll(conn)
		if err == nil && !strings.Contains(string(answer), forever+"-0") {
			err = errors.New("an answer without the child: " + string(answer))
		}
		if err != nil {
			return fmt.Errorf("the text protocol: %w", err)
		}
		return nil
	})
}
