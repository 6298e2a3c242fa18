package control

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"kita/spec"
)

// guard decides which requests are heard at all. The API has no log-in, so a
// web page must not be able to speak to it through the browser of someone who
// can reach it: not from another origin, and not by a name of its own that it
// points at this server (DNS rebinding).
type guard struct{ names map[string]bool }

func newGuard(allowed []string) guard {
	g := guard{names: map[string]bool{"localhost": true}}
	if name, err := os.Hostname(); err == nil && name != "" {
		short, _, _ := strings.Cut(name, ".")
		allowed = append([]string{name, short}, allowed...)
	}
	for _, name := range allowed {
		g.names[canonicalHost(name)] = true
	}
	return g
}

// refuse returns why a request is not heard, or nil.
func (g guard) refuse(r *http.Request) *spec.Refusal {
	c := connOf(r.Context())
	if c != nil && c.refusal != nil {
		return c.refusal
	}
	if c != nil && c.transport.encrypt {
		return refusePlain(r)
	}
	// No browser can reach a unix socket, so its clients may say any name.
	isUnix := c != nil && c.transport.network == "unix"
	if !isUnix && !g.knows(r.Host) && (r.Host != "" || r.ProtoAtLeast(1, 1)) {
		return spec.Refuse(codeMisdirected, "", "", "the request is for the host %q, which is not this server: ask it by its address, by localhost or by its own name", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return spec.Refuse(codeForbidden, "", "", "requests from the web page of another origin (%s) are refused", origin)
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
		return nil
	default:
		return spec.Refuse(codeForbidden, "", "", "requests from the web page of another site (%s) are refused", site)
	}
}

// refusePlain refuses a request to a server that takes none in plain text.
func refusePlain(r *http.Request) *spec.Refusal {
	if r.URL.Path == "/metrics" || r.URL.Path == discoveryPath {
		return spec.Refuse(codeForbidden, "", "", "this server runs in encrypt mode, so its port has no metrics for who shows no key: set metrics_addr in server.yml and read them there")
	}
	return spec.Refuse(codeForbidden, "", "", "this server runs in encrypt mode: over TCP it answers only to keys, as in `kita check on HOST with KEY`; on its own host use the unix socket")
}

func (g guard) knows(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return g.names[canonicalHost(host)]
}

func canonicalHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
