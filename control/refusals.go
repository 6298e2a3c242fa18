package control

import (
	"fmt"
	"sync"
	"time"

	"kita/spec"
)

// Refused connections, and commands refused for want of a key, are written to the
// audit log at most refusalBurst at once, and one each refusalEvery from then on:
// a flood must not fill the disk. Those whose key is refused count by themselves.
const (
	refusalBurst = 100
	refusalEvery = time.Second
)

// refusals is the bucket of tokens that such lines are paid from.
type refusals struct {
	mu sync.Mutex
	// spent are the tokens that are gone, at the time last. Owned by mu.
	spent int
	last  time.Time
	// left are the lines left out since the last one written. Owned by mu.
	left int
}

// allow tells whether a line may be written, and how many were left out before
// it.
func (r *refusals) allow(now time.Time) (ok bool, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.last) {
		// The clock was set back.
		r.last = now
	}
	back := int(min(now.Sub(r.last)/refusalEvery, refusalBurst))
	if back >= r.spent {
		r.spent, r.last = 0, now
	} else {
		r.spent -= back
		r.last = r.last.Add(time.Duration(back) * refusalEvery)
	}
	if r.spent >= refusalBurst {
		r.left++
		return false, 0
	}
	r.spent++
	left, r.left = r.left, 0
	return true, left
}

// rest returns how many lines were left out and not told of, once.
func (r *refusals) rest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.left
	r.left = 0
	return left
}

// recordRefused writes to the audit log that a connection came to no command,
// unless there were too many of late.
func (g *gate) recordRefused(a asker, code spec.Code, reason string) {
	g.recordSeldom(&g.refusals, a, verbConnect, "", string(code), reason)
}

// recordBadKey is recordRefused of who has shown a key that is not admitted. What
// comes without one must not hide that.
func (g *gate) recordBadKey(a asker, reason string) (recorded bool) {
	return g.recordSeldom(&g.badKeys, a, verbConnect, "", string(codeForbidden), reason)
}

// recordSeldom writes a line, unless there were too many of late: then it is
// false, and the next line says how many.
func (g *gate) recordSeldom(from *refusals, a asker, verb, child, result, detail string) (recorded bool) {
	ok, left := from.allow(time.Now())
	if !ok {
		return false
	}
	if left > 0 {
		detail += fmt.Sprintf(" (%d refusals before this one are not listed)", left)
	}
	g.write(a, verb, child, result, detail)
	return true
}

// recordRest writes how many refusals no line told of.
func (g *gate) recordRest() {
	for _, r := range []*refusals{&g.refusals, &g.badKeys} {
		if left := r.rest(); left > 0 {
			g.write(asker{}, verbConnect, "", string(codeForbidden), fmt.Sprintf("%d refusals are not listed", left))
		}
	}
}
