package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"kita/console"
	"kita/control"
	"kita/spec"
	"kita/why"
)

const topLong = `Watch the children of one or many hosts on the whole screen: their phases, what
they use of processor and memory, and the output of the one that is selected.

  kita top
  kita top on @web with ops.pem
  kita top on ssh://root@10.0.0.9

S, T and R start, stop and restart the selected child, once you have said y; w says
why it is in its state, / filters, s sorts, ? shows all keys, q quits.

It needs a terminal. For scripts there is 'kita check --watch -o json'.`

func (p *program) topCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use: "top" + p.where(), Short: "watch the children, what they use and what they write, on the whole screen", Long: topLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := p.serverRequest(args, f)
			if err != nil {
				return err
			}
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.top(ctx, r) })
		},
	}
	f.timeout = defaultTimeout
	c.Flags().Var(lengthValue{&f.timeout}, "timeout", "how long a command to a child may take")
	f.registerPlace(c, spec.VerbInfo)
	c.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		return f.completePlace(c, args, word)
	}
	return c
}

func (p *program) top(ctx context.Context, r request) error {
	out, ok := p.terminal()
	keys := keyboard()
	if !ok || keys == nil {
		return usagef("kita top needs a terminal; where there is none use `kita check --watch`, also with -o json")
	}
	p.quieten(ctx, r)
	why := func(ctx context.Context, client *control.Client, host int, child string) (string, error) {
		return p.whyText(ctx, client, r, host, child)
	}
	return console.ShowTop(ctx, p.feed(r, ""), p.consoleWords(false), why, r.timeout, r.many, keys, out)
}

// whyText is what `kita why` prints, without colours.
func (p *program) whyText(ctx context.Context, c *control.Client, r request, host int, child string) (string, error) {
	r.child = child
	q, err := p.learn(ctx, c, r, r.hosts[host])
	if err != nil {
		return "", err
	}
	var b strings.Builder
	plain := &program{now: p.now}
	err = plain.writeWhy(&b, why.Of(q), "")
	return b.String(), err
}
