package console

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
)

// framesPerSecond is how often the screen is drawn at most.
const framesPerSecond = 20

// tick comes once a second: what is said of times is as old as that.
type tick time.Time

func everySecond() tea.Cmd {
	return tea.Every(time.Second, func(now time.Time) tea.Msg { return tick(now) })
}

// ended is what a model has to say when it is over.
type ended interface {
	tea.Model
	// result is why it ended by itself, nil where the user ended it.
	result() error
}

// show has a model on the terminal until it ends, and the feed followed
// meanwhile. The terminal is as before when it returns, also after a panic or one of
// the signals that end a program.
func show(ctx context.Context, model ended, follow func(context.Context), in io.Reader, out io.Writer) error {
	// Bubble Tea sees to SIGINT and SIGTERM.
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGQUIT} {
		// nohup has SIGHUP ignored.
		if !signal.Ignored(sig) {
			var deaf func()
			ctx, deaf = signal.NotifyContext(ctx, sig)
			defer deaf()
		}
	}
	following, stop := context.WithCancel(ctx)
	var feed sync.WaitGroup
	feed.Go(func() { follow(following) })
	defer feed.Wait()
	defer stop()
	last, err := tea.NewProgram(model, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithFPS(framesPerSecond)).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil && !errors.Is(err, tea.ErrProgramPanic) {
		err = nil
	}
	if m, ok := last.(ended); ok && err == nil {
		err = m.result()
	}
	return err
}

// fullScreen is a view of lines that takes the whole terminal.
func fullScreen(content, title string) tea.View {
	v := tea.NewView(content)
	v.AltScreen = true
	v.WindowTitle = title
	return v
}
