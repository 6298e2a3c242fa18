package legacy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ConnectTimeout is that of the client of supervisor-rs.
const ConnectTimeout = 5 * time.Second

// maxAnswer bounds what Exchange reads: a `check` of 10,000 children is 4 MiB.
const maxAnswer = 16 << 20

// ErrTooLong is the error of an answer beyond 16 MiB.
var ErrTooLong = errors.New("the answer is longer than 16 MiB")

// Exchange sends one request to the server at addr, a host:port, and returns
// its whole answer. It does not half-close, because supervisor-rs takes that
// for the end of the connection. ctx bounds the whole exchange.
func Exchange(ctx context.Context, addr string, packet []byte) ([]byte, error) {
	dialer := net.Dialer{Timeout: ConnectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", addr, err)
	}
	defer conn.Close()
	// A deadline in the past is how a blocked read learns that ctx ended.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	answer, err := exchange(conn, packet)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", addr, err)
	}
	return answer, nil
}

func exchange(conn io.ReadWriter, packet []byte) ([]byte, error) {
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(answer) > maxAnswer {
		return nil, ErrTooLong
	}
	return answer, nil
}
