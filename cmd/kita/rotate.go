package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/spec"
)

func (p *program) rotateCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use: "rotate CHILD|all" + p.where(), Short: "make an archive now of what the output files of a child hold", Long: rotateLong,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, children, err := p.childrenRequest("rotate", args, f)
			if err != nil {
				return err
			}
			if len(children) > 1 {
				return usagef("rotate takes one child, or all: %q is one word too many", children[1])
			}
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return p.rotate(ctx, r, children[0]) })
		},
	}
	p.registerFlags(&f, c, spec.VerbInfo)
	c.ValidArgsFunction = p.completeWords(spec.VerbStop, &f)
	return c
}

// rotate has servers rotate the files of a child.
func (p *program) rotate(ctx context.Context, r request, child string) error {
	return fanOut(ctx, p, r, showing[[]spec.Archive]{
		text: func(w io.Writer, archives []spec.Archive, prefix string) error {
			if len(archives) == 0 {
				_, err := fmt.Fprintf(w, "%snothing was written since the last time\n", prefix)
				return err
			}
			for _, a := range archives {
				if a.Path == "" {
					if _, err := fmt.Fprintf(w, "%san archive was made; where is told to keys that may read the child\n", prefix); err != nil {
						return err
					}
					continue
				}
				if _, err := fmt.Fprintf(w, "%s%s (%s)\n", prefix, printable(a.Path), sizeText(a.Bytes)); err != nil {
					return err
				}
			}
			return nil
		},
	}, func(ctx context.Context, c *control.Client) ([]spec.Archive, error) {
		archives, err := c.Rotate(ctx, child)
		return archives, waitedTooLong(ctx, request{verb: "rotate", child: child, timeout: r.timeout}, c, err)
	})
}

// logPaths shows where the output files of a child are.
func (p *program) logPaths(ctx context.Context, r request, q spec.LogRequest) error {
	child := q.Children[0]
	return fanOut(ctx, p, r, showing[[]spec.OutputFile]{
		text: func(w io.Writer, files []spec.OutputFile, prefix string) error {
			for _, f := range files {
				if _, err := fmt.Fprintf(w, "%s%s\n", prefix, printable(f.Path)); err != nil {
					return err
				}
			}
			return nil
		},
	}, func(ctx context.Context, c *control.Client) ([]spec.OutputFile, error) {
		files, err := c.Output(ctx, child)
		if err != nil {
			return nil, err
		}
		if q.Stream != "" {
			files = slices.DeleteFunc(files, func(f spec.OutputFile) bool { return !slices.Contains(f.Streams, q.Stream) })
		}
		if len(files) == 0 {
			return nil, control.NoOutput(child)
		}
		return files, nil
	})
}
