package control

import (
	"testing"
	"time"
)

func TestRefusalsAreRecordedSeldom(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var r refusals
	allowed := func(n int) (count, left int) {
		for range n {
			ok, before := r.allow(now)
			if ok {
				count++
			}
			left += before
		}
		return count, left
	}
	for _, step := range []struct {
		name        string
		wait        time.Duration
		tries       int
		count, left int
	}{
		{"a burst is listed", 0, refusalBurst, refusalBurst, 0},
		{"what is beyond is not", 0, 1000, 0, 0},
		{"half a second is too early", refusalEvery / 2, 1, 0, 0},
		{"the next says how many were not", refusalEvery / 2, 3, 1, 1001},
		{"and so on", refusalEvery, 1, 1, 2},
		{"five seconds, five lines", 5 * refusalEvery, 10, 5, 0},
		{"after a long time, a burst again", time.Hour, 200, refusalBurst, 5},
		{"a clock that is set back does no harm", -time.Hour, 7, 0, 0},
	} {
		now = now.Add(step.wait)
		if count, left := allowed(step.tries); count != step.count || left != step.left {
			t.Errorf("%s: %d lines that tell of %d others, want %d and %d", step.name, count, left, step.count, step.left)
		}
	}
	if left, again := r.rest(), r.rest(); left != 107 || again != 0 {
		t.Errorf("the rest is %d, then %d", left, again)
	}
}
