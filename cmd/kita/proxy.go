package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/control/sshhost"
)

// proxyCommand lets another host reach this host's server where its sshd does
// not forward connections: `on ssh://…` runs it there.
func (p *program) proxyCommand() *cobra.Command {
	var (
		socket   string
		announce bool
	)
	c := &cobra.Command{
		Use: "proxy", Short: "pass stdin and stdout on to the server of this host", Hidden: true,
		Long: "Connects to the unix socket of this host's server and passes on its standard input and\n" +
			"output, byte for byte, until either ends. `kita COMMAND on ssh://HOST` runs it there\n" +
			"where the sshd forbids to forward connections.",
		Args: maxWords(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if socket == "" {
				socket, _ = p.defaultSocket()
			}
			return p.proxy(c.Context(), socket, announce, os.Stdin)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&socket, "socket", "", "unix socket of the local server (default $KITA_SOCKET, or kita.sock in its run directory)")
	c.Flags().BoolVar(&announce, "announce", false, "say so on stderr when the server has been reached")
	return c
}

// proxy connects in and the program's output with the server at socket. It
// returns when the server has closed the connection; the end of in is passed on
// and no end, because an answer may still come.
func (p *program) proxy(ctx context.Context, socket string, announce bool, in io.Reader) error {
	if socket == "" {
		return &control.Unreachable{Host: "kita.sock", Err: os.ErrNotExist}
	}
	if ctx == nil {
		ctx = context.Background()
	}
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return &control.Unreachable{Host: socket, Err: err}
	}
	conn := nc.(*net.UnixConn)
	defer conn.Close()
	if announce {
		if _, err := fmt.Fprintln(p.err, sshhost.ProxyReady); err != nil {
			return fmt.Errorf("say that the server has been reached: %w", err)
		}
	}
	// It cannot be woken while it reads, so nobody waits for it: the process
	// ends with the connection.
	go func() {
		_, _ = io.Copy(conn, in)
		_ = conn.CloseWrite()
	}()
	if _, err := io.Copy(p.out, conn); err != nil {
		return fmt.Errorf("pass on what the server says: %w", err)
	}
	return nil
}
