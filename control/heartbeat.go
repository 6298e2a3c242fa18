package control

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers by which a client asks for the heartbeat of a watch, and hears that it
// gets it (RFC 7240). A server that does not know the preference passes it over.
const (
	preferHeader  = "Prefer"
	appliedHeader = "Preference-Applied"
)

// heartbeatPreference asks for a heartbeat, of whole seconds.
func heartbeatPreference(heartbeat time.Duration) string {
	return "heartbeat=" + strconv.FormatInt(int64(heartbeat/time.Second), 10)
}

// preferredHeartbeat is what the client asks for; 0 where that is nothing, or nothing
// shorter than usual.
func preferredHeartbeat(h http.Header, usual time.Duration) time.Duration {
	for _, line := range h.Values(preferHeader) {
		for preference := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "heartbeat") {
				continue
			}
			// Of several the first counts.
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 16)
			if heartbeat := time.Duration(seconds) * time.Second; err == nil && heartbeat > 0 && heartbeat < usual {
				return heartbeat
			}
			return 0
		}
	}
	return 0
}
