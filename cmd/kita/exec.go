package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

// remoteLong is rootLong for who came over SSH.
const remoteLong = `This is a kita server; one command line is carried out at a time, as kita does:

  ssh -p 33889 -i ops.pem x@HOST trystart web
  ssh -p 33889 -i ops.pem x@HOST check -o json

Exit status: 0 all well, 1 refused or failed, 2 wrong use, 3 not running
(check NAME).`

// execLine carries out a command line that came over SSH, with the output and
// the exit status that kita itself would have. It reaches nothing but the API
// of its own server, with the rights of the key that asks: neither another
// host, nor a file, nor a command that is none of a client.
func execLine(ctx context.Context, e control.Exec, logger *slog.Logger) (status int) {
	p := &program{name: "kita", out: e.Stdout, err: e.Stderr, now: time.Now, through: opener{e.Dial}}
	defer func() {
		if v := recover(); v != nil {
			logger.Error("a command over SSH panicked", "by", e.By, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			p.notice("the server met an error of its own, its log has more")
			status = exitFailed
		}
	}()
	words, err := spec.SplitWords(e.Line)
	if err != nil {
		return p.finish(&usageError{err})
	}
	if len(words) > 0 && words[0] == p.name {
		words = words[1:]
	}
	root := p.remoteCommand()
	if words, err = checkRemote(root, words); err != nil {
		return p.finish(err)
	}
	if len(words) > 0 && isHelp(words[0]) {
		// Package cobra would look for a command in the rest, among its own too.
		words = words[:1]
	}
	root.SetArgs(append([]string{}, words...))
	return p.finish(root.ExecuteContext(ctx))
}

// opener is the API of the server that this program is a part of.
type opener struct {
	dial func(context.Context) (net.Conn, error)
}

func (o opener) Open(ctx context.Context) (net.Conn, error) { return o.dial(ctx) }
func (o opener) String() string                             { return "this server" }

// remoteCommand has the commands of a client, without those that are of use to
// the user's own host alone.
func (p *program) remoteCommand() *cobra.Command {
	root := p.bareRoot("kita COMMAND", remoteLong)
	root.CompletionOptions.DisableDefaultCmd = true
	for _, v := range verbCommands("") {
		root.AddCommand(p.verbCommand(v))
	}
	root.AddCommand(p.waitCommand(), p.diffCommand())
	root.AddCommand(p.logsCommand(), p.rotateCommand(), p.upgradeCommand(), p.versionCommand())
	root.AddCommand(p.whyCommand(), p.eventsCommand())
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultHelpCmd()
	return root
}

// checkRemote lets only the commands of root pass: package cobra has some of
// its own, which it hides. It returns the words with the command first, so that
// no flag before it leaves room for another one.
func checkRemote(root *cobra.Command, words []string) ([]string, error) {
	if len(words) == 0 || isHelp(words[0]) {
		return words, nil
	}
	c, _, err := root.Find(words)
	at := slices.IndexFunc(words, func(word string) bool { return c != root && (c.Name() == word || c.HasAlias(word)) })
	if err != nil || at < 0 {
		return nil, unknownCommand(root, words)
	}
	return slices.Concat(words[at:at+1], words[:at], words[at+1:]), nil
}

func isHelp(word string) bool { return word == "-h" || word == "--help" }

// remoteRequest is understand for who came over SSH: only this server is asked.
func (p *program) remoteRequest(r request, words control.Words) (request, error) {
	if len(words.Hosts) > 0 || words.Key != "" {
		return request{}, usagef("over SSH only this server is asked, leave out `on` and `with`: use %s", strings.TrimSpace(string(r.verb)+" "+r.child))
	}
	r.hosts, r.parallel = []fleet.Host{fleet.Local}, 1
	return r, nil
}
