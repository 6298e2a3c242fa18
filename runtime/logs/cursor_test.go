package logs

import (
	"testing"
	"time"
)

func FuzzCursor(f *testing.F) {
	f.Add("12,l,1763726400000,4f:77")
	f.Add("18446744073709551615,s,-1,a,b")
	f.Add("0,h,0,")
	f.Add("-1,l,x")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			return
		}
		again, err := parseCursor(c.String())
		if err != nil || again != c {
			t.Errorf("%q is %+v, and again %+v, %v", text, c, again, err)
		}
	})
}

func TestCursorSurvivesTheWire(t *testing.T) {
	for _, want := range []cursor{
		{pos: 12, place: atLine, at: time.UnixMilli(1763726400000), identity: "4f:77"},
		{pos: 1<<64 - 1, place: inShown, at: time.UnixMilli(0), identity: "a,b"},
		{place: inHidden, at: time.UnixMilli(-1)},
	} {
		if got, err := parseCursor(want.String()); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", want, got, err, want)
		}
	}
}

func TestNoCursor(t *testing.T) {
	for _, text := range []string{"", "12", "12,l,1", "x,l,1,a", "-1,l,1,a", "12,start,1,a", "12,l,now,a", "99999999999999999999,l,1,a"} {
		if c, err := parseCursor(text); err == nil {
			t.Errorf("%q is taken for %+v", text, c)
		}
	}
}
