package main

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"kita/control"
	"kita/spec"
)

func TestLogsOverSSHAreThoseOfKita(t *testing.T) {
	for _, line := range []string{
		"logs web", "logs web db --tail 1", "logs all -o json", "logs --tail 1 web --stream err", "logs nope", "logs quiet",
		"logs web --path", "logs", "logs web --tail x", "rotate web", "rotate all -o json", "rotate",
	} {
		t.Run(line, func(t *testing.T) {
			server := serveFake(t, writingService())
			wantStatus, wantOut, wantErr := kita(server.socket, strings.Fields(line)...)
			status, out, stderr := overSSH(t.Context(), server.socket, line)
			if status != wantStatus || out != wantOut || stderr != wantErr {
				t.Errorf("status %d, want %d\nstdout %q, want %q\nstderr %q, want %q", status, wantStatus, out, wantOut, stderr, wantErr)
			}
		})
	}
	for line, want := range map[string]string{
		"logs web on h":   "kita: over SSH only this server is asked, leave out `on` and `with`: use logs web\n",
		"rotate all on h": "kita: over SSH only this server is asked, leave out `on` and `with`: use rotate all\n",
		"logs web --on h": "kita: unknown flag: --on, see `kita logs --help`\n",
	} {
		if status, _, stderr := overSSH(t.Context(), "", line); status != exitUsage || stderr != want {
			t.Errorf("%s: status %d, stderr %q", line, status, stderr)
		}
	}
}

// A line over SSH is carried out by the server itself: what follows ends with the
// client, or with the server, which it must not wait for.
func TestWhatFollowsOverSSHEnds(t *testing.T) {
	follow := func(ctx context.Context, socket string) (out, stderr *watched, status <-chan int) {
		out, stderr = new(watched), new(watched)
		ended := make(chan int, 1)
		go func() {
			ended <- execLine(ctx, control.Exec{
				Line: "logs web -f --stream out", By: "ssh:ops@127.0.0.1", Stdout: out, Stderr: stderr,
				Dial: func(ctx context.Context) (net.Conn, error) {
					var d net.Dialer
					return d.DialContext(ctx, "unix", socket)
				},
			}, slog.New(slog.DiscardHandler))
		}()
		return out, stderr, ended
	}
	t.Run("with its client", func(t *testing.T) {
		svc := writingService()
		server := serveFake(t, svc)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, _, status := follow(ctx, server.socket)
		out.await(t, "two")
		svc.Write("web", "later\n", spec.Out)
		out.await(t, "later")
		cancel()
		<-status
	})
	t.Run("with the server", func(t *testing.T) {
		socket := filepath.Join(shortDir(t), socketName)
		end := serveAt(t, writingService(), socket)
		out, stderr, status := follow(t.Context(), socket)
		out.await(t, "two")
		end()
		if got := <-status; got != exitFailed || stderr.String() != "kita: logs: this server is about to end or to be upgraded, ask it again\n" {
			t.Errorf("status %d, stderr %q", got, stderr)
		}
	})
}
