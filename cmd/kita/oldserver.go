package main

import (
	"context"
	"fmt"
)

// Names of the programs of supervisor-rs, for which a link to kita can stand.
const (
	oldServerName = "supervisor-rs-server"
	oldClientName = "supervisor-rs-client"
)

// oldServer is `kita serve` with the command line of supervisor-rs-server: at
// most the path of server.yml.
func (p *program) oldServer(args []string) error {
	if len(args) > 1 {
		return usagef("%q is one word too many, the use is `%s [FILE]`", args[1], oldServerName)
	}
	o := serveOptions{logLevel: "info", logFormat: "text"}
	if len(args) == 1 {
		o.file = args[0]
	}
	switch o.file {
	case "help", "-h", "--help":
		_, err := fmt.Fprintf(p.out, "use: %s [FILE]\n\nThis is `kita serve`; FILE is server.yml, see `kita serve --help`.\n", oldServerName)
		return err
	}
	return p.serve(context.Background(), o)
}
