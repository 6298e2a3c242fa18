package spec

import "time"

// ParseDuration reads a length of time as configuration files have it: as
// time.ParseDuration, with days before all else: 30d, 1d12h.
func ParseDuration(text string) (time.Duration, error) { return parseDuration(text) }
