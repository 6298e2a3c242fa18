package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/spec"
)

const waitLong = `Wait until children have come to something, and change nothing.

  kita wait web                        until it runs
  kita wait web db --for stable=10s    until one process of each has lived 10 s
  kita wait import --for exited=0      until it ends with code 0
  kita wait all --for stopped on h1    until nothing lives there any more

The wait ends at once where it cannot come to that any more without a command: a
child that failed for good, or that nobody wants to run. An end that its restart
policy follows with another start is waited out. Of all, those count that are to
run; one that is done, having ended with success, is passed over and said to have
exited. It goes on over restarts and upgrades of the server.

` + statusTable

func (p *program) waitCommand() *cobra.Command {
	var f flags
	want := condition{aim: aimRunning}
	c := &cobra.Command{
		Use: "wait CHILD…|all" + p.where(), Short: "wait until children run, are stable, have ended or are stopped", Long: waitLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, children, err := p.childrenRequest("wait", args, f)
			if err != nil {
				return err
			}
			r.wait, r.classed = want, true
			if r.timeout, err = want.bound(f.timeout, f.isGiven(timeoutFlag)); err != nil {
				return err
			}
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.wait(ctx, r, children) })
		},
	}
	p.registerFlags(&f, c, spec.VerbInfo)
	c.Flags().Var(conditionValue{&want, waitAims}, "for", "what they have to come to: `running`, stable=10s, exited, exited=CODE or stopped")
	if p.through == nil {
		_ = c.RegisterFlagCompletionFunc("for", completeConditions(waitAims))
	}
	c.ValidArgsFunction = p.completeChildren(&f)
	return c
}

// arrived is a child that has come to what was waited for.
type arrived struct {
	Child   string      `json:"child"`
	Reached string      `json:"reached"`
	Status  spec.Status `json:"status"`
}

// wait waits for children.
func (p *program) wait(ctx context.Context, r request, children []string) error {
	return fanOut(ctx, p, r, showing[[]arrived]{
		text: func(w io.Writer, all []arrived, prefix string) error {
			var lines []string
			for _, a := range all {
				line := a.Child + " " + r.wait.reachedText(a.Status)
				if p := a.Status.Process; p != nil {
					line += fmt.Sprintf(", PID %d", p.PID)
				}
				lines = append(lines, line)
			}
			if len(lines) == 0 {
				lines = []string{"no child is to run"}
			}
			return writeLines(w, lines, prefix)
		},
	}, func(ctx context.Context, c *control.Client) ([]arrived, error) {
		expected, err := p.waitFor(ctx, r, c, children)
		if err == nil {
			err = p.await(ctx, r, c, expected)
		}
		if err != nil {
			return nil, err
		}
		all := []arrived{}
		for _, e := range expected {
			all = append(all, arrived{e.child, r.wait.reached(e.latest.Status), forLogs(e.latest.Status)})
		}
		return all, nil
	})
}

// waitFor is what is expected of children without a command.
func (p *program) waitFor(ctx context.Context, r request, c *control.Client, children []string) ([]*expectation, error) {
	var expected []*expectation
	if children[0] != spec.All {
		for _, child := range children {
			expected = append(expected, &expectation{child: child, want: r.wait})
		}
		return expected, nil
	}
	views, err := c.List(ctx)
	for _, v := range views {
		if v.Desired.Run == spec.Running || r.wait.aim == aimStopped {
			expected = append(expected, &expectation{child: v.Name, want: r.wait, several: true})
		}
	}
	return expected, err
}
