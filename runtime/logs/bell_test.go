package logs

import "testing"

func TestBellGivesEachSourceOnce(t *testing.T) {
	b := newBell()
	first, second := &reading{}, &reading{}
	for range 3 {
		b.ring(first)
		b.ring(second)
	}
	b.ringSet()
	if len(b.C) != 1 {
		t.Error("nobody is woken")
	}
	if got := []*reading{b.take(), b.take(), b.take()}; got[0] != first || got[1] != second || got[2] != nil {
		t.Errorf("got %p, %p, %p of %p, %p", got[0], got[1], got[2], first, second)
	}
	if !b.takeSet() || b.takeSet() {
		t.Error("the set does not ring once")
	}
	b.ring(first)
	if b.take() != first {
		t.Error("one that rang before does not ring again")
	}
}
