package why

import (
	"fmt"
	"strconv"
	"time"
)

// Ago is a length of time in its two largest units: 5s, 3m12s, 4h05m, 3d04h.
func Ago(d time.Duration) string {
	// The clocks of two hosts may differ.
	d = max(d, 0).Truncate(time.Second)
	seconds := int(d / time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", seconds)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", seconds/60, seconds%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", seconds/3600, seconds/60%60)
	}
	return fmt.Sprintf("%dd%02dh", seconds/86400, seconds/3600%24)
}

// length is how long something took; what is short is told more precisely.
func length(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 100*time.Millisecond:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
	}
	return Ago(d)
}

// Clock is a moment as a clock shows it, in the zone of now; with the date where
// that is not today's.
func Clock(t, now time.Time) string {
	t = t.In(now.Location())
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// moment is at and how long ago that is: "12:04:11 (3m00s ago)".
func moment(t, now time.Time) string {
	if t.After(now) {
		return fmt.Sprintf("%s (in %s)", Clock(t, now), Ago(t.Sub(now).Round(time.Second)))
	}
	return fmt.Sprintf("%s (%s ago)", Clock(t, now), Ago(now.Sub(t)))
}
