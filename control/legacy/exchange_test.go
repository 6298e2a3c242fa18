package legacy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"kita/control/legacy"
)

// oldServer answers one connection: what reply returns for the request, of
// which it reads exactly want bytes because the client does not half-close.
func oldServer(t *testing.T, want int, reply func(request string) io.Reader) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		request := make([]byte, want)
		if _, err := io.ReadFull(nc, request); err != nil {
			return
		}
		_, _ = io.Copy(nc, reply(string(request)))
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func TestExchangeReadsToTheEnd(t *testing.T) {
	addr := oldServer(t, len("stop web"), func(request string) io.Reader { return strings.NewReader("you said " + request) })
	answer, err := legacy.Exchange(t.Context(), addr, []byte("stop web"))
	if err != nil || string(answer) != "you said stop web" {
		t.Errorf("answer %q, %v", answer, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestExchangeBoundsTheAnswer(t *testing.T) {
	addr := oldServer(t, 4, func(string) io.Reader { return io.LimitReader(endless{}, 20<<20) })
	if answer, err := legacy.Exchange(t.Context(), addr, []byte("info")); !errors.Is(err, legacy.ErrTooLong) {
		t.Errorf("%d bytes, %v, want ErrTooLong", len(answer), err)
	}
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	// The server gets the request and then never answers.
	addr := oldServer(t, 4, func(string) io.Reader {
		cancel()
		return blockUntil{t.Context()}
	})
	if _, err := legacy.Exchange(ctx, addr, []byte("info")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}

type blockUntil struct{ ctx context.Context }

func (b blockUntil) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, io.EOF
}

func TestExchangeNamesTheHostItCannotReach(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	if _, err := legacy.Exchange(t.Context(), addr, []byte("info")); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("error %v", err)
	}
}
