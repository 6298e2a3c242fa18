package main

import (
	"log/slog"

	"github.com/spf13/cobra"
)

// serveOptions are the flags of the server.
type serveOptions struct {
	// file is server.yml; empty means it is to be found.
	file                string
	logLevel, logFormat string
	// noKeeper: one process instead of two.
	noKeeper bool
	// debug is where profiles of the server are served; empty is nowhere.
	debug string
}

func (p *program) serveCommand() *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve [FILE]",
		Short: "look after the children of this host",
		Long: `Look after the children of this host, until SIGTERM or SIGINT, which leave
them running unless server.yml says on_exit: stop, or until the command kill,
which stops them. As PID 1 of a container they are stopped, unless it says
on_exit: leave.

There are two processes: the keeper, which is the one started here, and the
server below it. A server that dies is started again at once and takes over its
children; how those ended that could not wait is not lost.

  kita serve /etc/kita/server.yml

FILE is server.yml; without it /etc/kita/server.yml is used, else
/tmp/server.yml if only its owner can write it. SIGHUP has the files read again.`,
		Args: maxWords(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.file = args[0]
			}
			return p.serve(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&o.logFormat, "log-format", "text", "text or json")
	c.Flags().BoolVar(&o.noKeeper, "no-keeper", false, "run the server alone, for debugging: nothing starts it again")
	c.Flags().StringVar(&o.debug, "debug-addr", "", "serve profiles at `HOST:PORT`, an address of this host alone: /debug/pprof/")
	return c
}

// logger writes to stderr.
func (p *program) logger(o serveOptions) (*slog.Logger, error) {
	var level slog.Level
	switch o.logLevel {
	case "debug", "info", "warn", "error":
		if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
			return nil, err
		}
	default:
		return nil, usagef("--log-level %s: give debug, info, warn or error", o.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(p.err, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(p.err, options)), nil
	}
	return nil, usagef("--log-format %s: give text or json", o.logFormat)
}
