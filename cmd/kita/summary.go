package main

import (
	"errors"
	"fmt"
	"strings"

	"kita/control/fleet"
)

// mostNamed is how many hosts of one kind a summary names.
const mostNamed = 5

// summary tells, after the answers of several hosts, who failed and why.
type summary struct {
	asked   bool // more than one host was to be asked
	total   int
	failed  int
	skipped int // not asked
	kinds   []kind
}

// kind is a way to fail, and the first hosts that did so.
type kind struct {
	why   string
	hosts []string
	count int
}

func newSummary(r request) *summary {
	return &summary{asked: len(r.hosts) > 1, total: len(r.hosts)}
}

// add notes the end of one host.
func (s *summary) add(h fleet.Host, status int, err error) {
	if status == exitOK {
		return
	}
	var not *fleet.NotAsked
	if errors.As(err, &not) {
		s.skipped++
		return
	}
	s.failed++
	why := "not running"
	if err != nil {
		why = strings.ReplaceAll(string(failureOf(err).Code), "-", " ")
	}
	for i := range s.kinds {
		if s.kinds[i].why == why {
			s.kinds[i].add(h)
			return
		}
	}
	k := kind{why: why}
	k.add(h)
	s.kinds = append(s.kinds, k)
}

func (k *kind) add(h fleet.Host) {
	k.count++
	if len(k.hosts) < mostNamed {
		k.hosts = append(k.hosts, h.String())
	}
}

// line is the summary, empty when there is nothing to add to the answers.
func (s *summary) line() string {
	if !s.asked || s.failed+s.skipped == 0 {
		return ""
	}
	var kinds []string
	for _, k := range s.kinds {
		names := strings.Join(k.hosts, ", ")
		if more := k.count - len(k.hosts); more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		kinds = append(kinds, fmt.Sprintf("%s (%s)", names, k.why))
	}
	line := fmt.Sprintf("%d of %d hosts failed", s.failed, s.total)
	if len(kinds) > 0 {
		line += ": " + strings.Join(kinds, ", ")
	}
	if s.skipped > 0 {
		line += fmt.Sprintf("; %d not asked", s.skipped)
	}
	return line
}
