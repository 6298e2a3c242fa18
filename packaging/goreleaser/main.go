package main

import (
	stdcontext "context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/goreleaser/goreleaser/v2/internal/middleware/errhandler"
	"github.com/goreleaser/goreleaser/v2/internal/middleware/logging"
	"github.com/goreleaser/goreleaser/v2/internal/middleware/skip"
	"github.com/goreleaser/goreleaser/v2/internal/skips"
	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"github.com/goreleaser/goreleaser/v2/pkg/context"
)

// timeout is for all steps together.
const timeout = 10 * time.Minute

func main() {
	single := flag.Bool("single-target", false, "build for this system alone, or for that of $TARGET, as in linux_arm64")
	flag.Parse()
	ctx, stop := signal.NotifyContext(stdcontext.Background(), os.Interrupt)
	err := release(ctx, *single)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "goreleaser:", err)
		os.Exit(1)
	}
}

// release does what `goreleaser release --snapshot --clean` does.
func release(parent stdcontext.Context, single bool) error {
	const path = ".goreleaser.yaml"
	c, err := config.Load(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := linked(c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	ctx, cancel := context.WrapWithTimeout(parent, c, timeout)
	defer cancel()
	ctx.Action = context.ActionRelease
	ctx.Parallelism = runtime.GOMAXPROCS(0)
	ctx.Snapshot, ctx.Clean, ctx.Partial = true, true, single
	skips.Set(ctx, skips.Publish, skips.Announce, skips.Validate)
	for _, s := range steps {
		if err := skip.Maybe(s, logging.Log(s.String(), errhandler.Handle(s.Run)))(ctx); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	// What is deprecated is gone in the next goreleaser.
	if ctx.Deprecated {
		return errors.New("something in " + path + " is deprecated, see above")
	}
	return nil
}
