//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"kita/spec"
)

// commandRuns is how often a command is measured, for every round.
const commandRuns = 8

// command is one that is measured as a whole process and as a call of the API.
type command struct {
	words []string
	goal  func(n int) goal
	call  func(context.Context, *server) error
}

const subject = "c00000" // the child that commands are about

var commands = []command{
	{[]string{"check"}, checkGoal, func(ctx context.Context, s *server) error {
		_, err := s.client.List(ctx)
		return err
	}},
	{[]string{"check", subject}, func(int) goal { return times(3) }, func(ctx context.Context, s *server) error {
		_, err := s.client.Get(ctx, subject)
		return err
	}},
	{[]string{"trystart", subject}, func(int) goal { return times(6) }, doing(spec.VerbTrystart)},
	{[]string{"restart", subject}, func(int) goal { return times(6) }, doing(spec.VerbRestart)},
}

// checkGoal: of ten children it is no worse than of a thousand.
func checkGoal(n int) goal {
	if n <= 1000 {
		return times(8)
	}
	return under(60 * float64(n) / 10_000)
}

func doing(verb spec.Verb) func(context.Context, *server) error {
	return func(ctx context.Context, s *server) error {
		_, err := s.client.Do(ctx, spec.Command{Verb: verb, Child: subject})
		return err
	}
}

// names are those of the two figures of a command.
func (c command) names() (process, api string) {
	name := c.words[0]
	if len(c.words) > 1 {
		name += " NAME"
	}
	return name + ", a process", name + ", a call"
}

// commands measures what commands take: as processes, from their fork to their
// end, against a bare one that prints a line; and as calls over a new connection
// each, as any client makes them.
func (b *neighbours) commands(ctx context.Context) error {
	for _, c := range commands {
		process, api := c.names()
		if b.wants(b.n, process) {
			if err := b.asProcess(ctx, c, process); err != nil {
				return fmt.Errorf("%s: %w", process, err)
			}
		}
		if !b.wants(b.n, api) {
			continue
		}
		var kita []float64
		for range b.rounds * commandRuns {
			begin := now()
			if err := c.call(ctx, b.server); err != nil {
				return fmt.Errorf("%s: %w", api, err)
			}
			kita = append(kita, ms(now()-begin))
		}
		b.add(figure{name: api, n: b.n, unit: "ms", kita: kita})
	}
	return nil
}

func (b *neighbours) asProcess(ctx context.Context, c command, name string) error {
	environment := append(os.Environ(), "KITA_SOCKET="+b.server.socket)
	var kita, floor []float64
	err := pairs(b.rounds*commandRuns, func() error {
		took, err := runProcess(ctx, environment, b.bin("kita"), c.words...)
		kita = append(kita, ms(took))
		return err
	}, func() error {
		took, err := runProcess(ctx, environment, b.bin("line"))
		floor = append(floor, ms(took))
		return err
	})
	b.add(figure{name: name, n: b.n, unit: "ms", kita: kita, floor: floor, goal: c.goal(b.n)})
	return err
}

// runProcess runs a program to its end and returns how long that took.
func runProcess(ctx context.Context, environment []string, program string, args ...string) (time.Duration, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	attr := &os.ProcAttr{Env: environment, Files: []*os.File{null, null, null}, Sys: ownGroup()}
	begin := now()
	process, err := os.StartProcess(program, slices.Insert(args[:len(args):len(args)], 0, program), attr)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = process.Kill() })
	defer stop()
	state, err := process.Wait()
	took := now() - begin
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s %v: %v", program, args, state)
	}
	return took, err
}

// coldStart measures how long a server without children takes until it answers,
// from its fork on, against a bare process that prints a line and ends.
func (w *world) coldStart(ctx context.Context) error {
	if !w.wants(0, figureCold) {
		return nil
	}
	var kita, floor []float64
	err := pairs(w.rounds*2, func() error {
		took, err := w.coldOnce(ctx)
		kita = append(kita, ms(took))
		return err
	}, func() error {
		took, err := runProcess(ctx, os.Environ(), w.bin("line"))
		floor = append(floor, ms(took))
		return err
	})
	w.add(figure{name: figureCold, unit: "ms", kita: kita, floor: floor})
	return err
}

// coldOnce is one cold start.
func (w *world) coldOnce(ctx context.Context) (time.Duration, error) {
	s, err := w.prepare(setup{})
	if err != nil {
		return 0, err
	}
	defer s.end()
	if err := s.launch(ctx, w.bin("kita")); err != nil {
		return 0, err
	}
	return now() - s.begun, nil
}

// binarySize tells the size of the binary, built as `make build` does.
func (w *world) binarySize() error {
	kita, err := os.Stat(w.bin("kita"))
	if err != nil {
		return err
	}
	floor, err := os.Stat(w.bin("line"))
	if err != nil {
		return err
	}
	w.add(figure{name: "size of the binary", unit: "MB", kita: []float64{float64(kita.Size()) / 1e6}, floor: []float64{float64(floor.Size()) / 1e6}})
	return nil
}

const figureCold = "cold start until it answers, no children"
