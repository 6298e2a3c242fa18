package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/spec"
)

func (p *program) upgradeCommand() *cobra.Command {
	var f flags
	var binary string
	c := &cobra.Command{
		Use:   "upgrade [--binary PATH] [on HOSTS] [with KEY]",
		Short: "have a new version of kita take the server's place",
		Long: `Have a new version of kita take the server's place.

The server first asks the new version whether it can read the configuration and
the state. Then it executes it in its own place: the server keeps its PID, its
children, its addresses and the connections of its clients, and commands that
wait are answered by the new version. A version that is refused changes nothing.

  kita upgrade
  kita upgrade on @web --serial
  kita upgrade --binary /opt/kita-1.3

Without --binary it is the file that the server was started from, which may have
been replaced. SIGUSR2 to the server does the same.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := p.serverRequest(args, f)
			if err != nil {
				return err
			}
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.upgrade(ctx, r, binary) })
		},
	}
	p.registerFlags(&f, c, spec.VerbInfo)
	if p.through == nil {
		f.registerRolling(c)
		c.Flags().StringVar(&binary, "binary", "", "`PATH` of the new version, on this host")
	}
	return c
}

// upgrade upgrades servers.
func (p *program) upgrade(ctx context.Context, r request, binary string) error {
	if binary != "" {
		if r.socket == "" {
			return usagef("--binary %s: it is a file of the server's own host, so it goes with its unix socket only", binary)
		}
		absolute, err := filepath.Abs(binary)
		if err != nil {
			return fmt.Errorf("--binary %s: %w", binary, err)
		}
		binary = absolute
	}
	return fanOut(ctx, p, r, showing[spec.Upgraded]{
		text: func(w io.Writer, done spec.Upgraded, prefix string) error {
			_, err := fmt.Fprintf(w, "%supgraded from %s to %s, PID %d as before\n", prefix, printable(done.From), printable(done.To), done.PID)
			return err
		},
	}, func(ctx context.Context, c *control.Client) (spec.Upgraded, error) {
		done, err := c.Upgrade(ctx, binary)
		return done, waitedTooLong(ctx, r, c, err)
	})
}
