package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"kita/control"
	"kita/runtime"
	"kita/runtime/logs"
	"kita/spec"
)

// Logs sends what the output files of the children have. A file that a child is
// given meanwhile, or a new child's, is taken in.
func (s service) Logs(ctx context.Context, r spec.LogRequest, readable func(string) bool, send func(spec.LogChunk) error) error {
	var grep *regexp.Regexp
	if r.Grep != "" {
		var err error
		if grep, err = regexp.Compile(r.Grep); err != nil {
			return spec.Refuse(spec.BadRequest, "", "", "logs: grep: %v", err)
		}
	}
	if err := logs.CheckAfter(r); err != nil {
		return spec.Refuse(spec.BadRequest, "", "", "logs: %v", err)
	}
	now := time.Now()
	set := newLogSet(s.s.host.Logs, r.Children, readable)
	var watching sync.WaitGroup
	defer watching.Wait()
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := s.Watch(watched)
	for change := range changes {
		if change.Type == spec.Synced {
			break
		}
		set.note(change)
	}
	if r.Follow {
		watching.Go(func() {
			for change := range changes {
				set.note(change)
			}
		})
	}
	return logs.Send(ctx, set, r, grep, now, send)
}

// Output returns the output files of a child.
func (s service) Output(name string) ([]spec.OutputFile, error) {
	v, known := s.Get(name)
	if !known {
		return nil, control.NoSuchChild("", name)
	}
	return s.s.host.Outputs(name, v.Spec), nil
}

// Rotate makes archives now of what the output files of a child, or of all,
// hold. A file that cannot be rotated keeps no other back. Of all, those that
// are not under rotation are passed over.
func (s service) Rotate(ctx context.Context, name string) ([]spec.Archive, error) {
	views := s.List()
	if name != spec.All {
		v, known := s.Get(name)
		if !known {
			return nil, control.NoSuchChild("", name)
		}
		views = []spec.View{v}
	}
	var made []spec.Archive
	var errs []error
	for _, v := range views {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		archives, err := s.s.host.Rotate(ctx, v.Name, v.Spec)
		made = append(made, archives...)
		switch {
		case errors.Is(err, runtime.ErrNoFile), errors.Is(err, runtime.ErrNotRotated):
			if name != spec.All {
				return nil, notRotated(name, err)
			}
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", v.Name, err))
		}
	}
	return made, errors.Join(errs...)
}

// notRotated is the refusal of a child of which nothing is under rotation.
func notRotated(name string, why error) error {
	if errors.Is(why, runtime.ErrNoFile) {
		return spec.Refuse(spec.BadRequest, "rotate", name, "rotate %s: it has no output file", name)
	}
	return spec.Refuse(spec.BadRequest, "rotate", name, "rotate %s: its output is not rotated, set `rotate: {}` in its file", name)
}
