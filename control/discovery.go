package control

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"kita/spec"
)

const discoveryPath = "/v1/sd"

// TargetGroup is an element of what Prometheus discovers by, over HTTP and in files:
// https://prometheus.io/docs/prometheus/latest/http_sd/
type TargetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// Labels of a target. Those that begin with __meta_ are for relabelling, and go
// after it.
const (
	labelPath   = "__metrics_path__"
	labelRole   = "__meta_kita_role"
	labelHost   = "__meta_kita_host"
	labelServer = "__meta_kita_server"
	labelChild  = "__meta_kita_child"
	// labelAsked is of lists that are made of several servers' answers.
	labelAsked = "__meta_kita_asked"
)

// The roles.
const (
	roleServer = "server"
	roleChild  = "child"
)

// discover is the handler of /v1/sd: where metrics are, of the server itself and of
// its children. Addresses are by the name under which it was asked, as that is what
// the asker can reach.
func discover(r *http.Request, opt Options) []TargetGroup {
	host, server := placesOf(r, opt)
	groups := []TargetGroup{}
	if server != "" && opt.Metrics != nil {
		groups = append(groups, TargetGroup{[]string{server}, map[string]string{
			labelPath: "/metrics", labelRole: roleServer, labelHost: host, labelServer: server,
		}})
	}
	for _, view := range opt.Service.List() {
		m := expectedMetrics(view)
		if m == nil {
			continue
		}
		groups = append(groups, TargetGroup{[]string{net.JoinHostPort(host, strconv.Itoa(m.Port))}, map[string]string{
			labelPath: m.Path, labelRole: roleChild, labelHost: host, labelServer: server, labelChild: spec.LabelValue(view.Name),
		}})
	}
	return groups
}

// expectedMetrics is where a child that ought to run serves metrics, or nil. One
// that failed or waits for its next start ought to: that nobody answers is what an
// alert is made of. One that was stopped or has done its work ought not.
func expectedMetrics(view spec.View) *spec.Metrics {
	switch {
	case view.Desired.Run != spec.Running || view.Status.Phase == spec.PhaseExited:
		return nil
	case view.Spec != nil:
		return view.Spec.Metrics
	case view.Status.Process != nil && view.Status.Process.Config != nil:
		// Its file is gone or broken, it runs with what it was started with.
		return view.Status.Process.Config.Metrics
	}
	return nil
}

// placesOf are the host by whose name or address the server was asked, without
// brackets, and where its own metrics are; empty where nobody could read them.
func placesOf(r *http.Request, opt Options) (host, server string) {
	host, port := r.Host, ""
	if h, p, err := net.SplitHostPort(r.Host); err == nil {
		host, port = h, p
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	c := connOf(r.Context())
	if host == "" {
		// HTTP/1.0 does without; the address that was dialled is as good.
		host = "localhost"
		if c != nil && c.transport.network == viaTCP {
			if h, p, err := net.SplitHostPort(c.LocalAddr().String()); err == nil {
				host, port = h, p
			}
		}
	}
	if c != nil && c.transport.network == viaTCP {
		// The very port that answers, or what forwards to it.
		if port == "" {
			port = "80"
		}
		return host, net.JoinHostPort(host, port)
	}
	// Over the unix socket or with a key: Prometheus can do neither.
	switch {
	case opt.MetricsPort != 0:
		return host, net.JoinHostPort(host, strconv.Itoa(opt.MetricsPort))
	case opt.Encrypt || opt.Port == 0:
		return host, ""
	}
	return host, net.JoinHostPort(host, strconv.Itoa(opt.Port))
}
