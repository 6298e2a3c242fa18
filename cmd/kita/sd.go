package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

const sdLong = `Print where the metrics of servers and of their children are, in the JSON by which
Prometheus discovers: what GET /v1/sd answers, of several hosts in one list.

  kita sd on h1,h2
  kita sd on @web with prom.pem -w /etc/prometheus/kita.d/web.json

With -w the list goes to FILE, for file_sd_configs: in one step, and only where it
has changed. What FILE has of a host that does not answer stays in it, so that its
alert fires; it has to be removed with the host. So a timer can write the file, also
of servers that answer nobody without a key.

Addresses are by the names under which the hosts are asked. Of the server of this
host that is localhost; --host gives another name.

Exit status: 0 all hosts have answered, 1 refused or failed, 2 wrong use,
4 unreachable; of several hosts the worst.`

// sdFlags are those of sd alone.
type sdFlags struct {
	file string
	host string
}

func (p *program) sdCommand() *cobra.Command {
	var f flags
	var s sdFlags
	c := &cobra.Command{
		Use: "sd" + p.where(), Short: "print where metrics are, for Prometheus", Long: sdLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := p.serverRequest(args, f)
			if err != nil {
				return err
			}
			given := c.Flags().Changed
			switch {
			case given("host") && s.host == "":
				return usagef("--host: give the name by which Prometheus reaches the server")
			case given("host") && !isHostName(s.host):
				return usagef("--host %q: it is a name or an IP address, without a port", s.host)
			case given("host") && len(r.hosts) > 1:
				return usagef("--host %s: it is the name of one host, and %d are asked", s.host, len(r.hosts))
			case given("write") && s.file == "":
				return usagef("--write: which file?")
			case s.file != "":
				if err := (targetsFile{s.file}).check(); err != nil {
					return err
				}
			}
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.sd(ctx, r, s) })
		},
	}
	set := c.Flags()
	set.StringVarP(&s.file, "write", "w", "", "write `FILE` in place of printing, in one step, if it has changed")
	set.StringVar(&s.host, "host", "", "the `NAME` by which Prometheus reaches the server, where it is another than it is asked by")
	f.timeout = defaultTimeout
	set.Var(lengthValue{&f.timeout}, timeoutFlag, "how long each host may take")
	f.registerPlace(c, spec.VerbInfo)
	_ = c.RegisterFlagCompletionFunc("host", cobra.NoFileCompletions)
	_ = c.MarkFlagFilename("write", "json", "yml", "yaml")
	c.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		return f.completePlace(c, args, word)
	}
	return c
}

// sd asks every host of r where metrics are.
func (p *program) sd(ctx context.Context, r request, s sdFlags) error {
	file := targetsFile{s.file}
	var before []control.TargetGroup
	if s.file != "" {
		// What cannot be kept is found out before anybody is asked.
		var err error
		if before, err = file.groups(); err != nil {
			return err
		}
	}
	if len(r.hosts) > 1 {
		var stop func(error)
		ctx, stop = interruptible(ctx, os.Interrupt)
		defer stop(nil)
	}
	results := fleet.Each(ctx, r.hosts, r.limits(), func(ctx context.Context, h fleet.Host) ([]control.TargetGroup, error) {
		return asking(p, r, func(ctx context.Context, c *control.Client) ([]control.TargetGroup, error) {
			return c.Targets(ctx, s.hostOf(r, h), askedAs(r, h))
		})(ctx, h)
	})
	told, status := newSummary(r), exitOK
	groups := []control.TargetGroup{}
	var silent []string
	for _, result := range results {
		if result.Err != nil {
			p.complainOf(label(r, result.Host), result.Err)
			silent = append(silent, askedAs(r, result.Host))
		}
		of := exitStatus(result.Err)
		told.add(result.Host, of, result.Err)
		status = worst(status, of)
		groups = append(groups, result.Value...)
	}
	if line := told.line(); line != "" {
		p.notice(line)
	}
	if s.file == "" && len(silent) == len(r.hosts) {
		return withStatus(status)
	}
	text, err := encode(formatJSON, append(groups, leftOver(before, silent)...), "")
	if err != nil {
		return err
	}
	if s.file != "" {
		if err = file.write(text); err != nil {
			return err
		}
	} else if _, err = p.out.Write(text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return withStatus(status)
}

// hostOf is the name of a host in the addresses of its targets.
func (s sdFlags) hostOf(r request, h fleet.Host) string {
	switch {
	case s.host != "":
		return s.host
	case r.socket != "":
		return "localhost"
	}
	return h.Name
}

// isHostName tells whether a name can stand before a port.
func isHostName(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil || !strings.ContainsAny(name, ":/@[]?# \t\r\n")
}

// askedAs is what the groups of a server are known by in a list.
func askedAs(r request, h fleet.Host) string {
	if r.socket != "" {
		return r.socket
	}
	return h.String()
}

// leftOver are the groups of a former list that are of servers which do not answer now.
func leftOver(before []control.TargetGroup, silent []string) []control.TargetGroup {
	var stay []control.TargetGroup
	for _, g := range before {
		if slices.Contains(silent, g.Asked()) {
			stay = append(stay, g)
		}
	}
	return stay
}
