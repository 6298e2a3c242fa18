package control

import (
	"context"
	"net"
	"net/http"
	"slices"
)

// Targets returns where metrics are, of the server and of its children, by the name
// of its host under which Prometheus can reach it. The server may not know that name:
// it is asked as localhost, and what it answers is renamed here. asked is what the
// groups are known by as this server's.
func (c *Client) Targets(ctx context.Context, host, asked string) ([]TargetGroup, error) {
	request, err := c.request(ctx, http.MethodGet, discoveryPath, nil)
	if err != nil {
		return nil, err
	}
	if _, port, err := net.SplitHostPort(c.target.TCP); err == nil {
		request.Host = net.JoinHostPort(request.Host, port)
	}
	request.Close = true
	_, response, err := c.roundTrip(ctx, request)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if response, err = c.success(response); err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var groups []TargetGroup
	if err := c.decode(ctx, response, &groups, func() bool { return areTargets(groups) }); err != nil {
		return nil, err
	}
	for _, g := range groups {
		g.rename(host)
		g.Labels[labelAsked] = asked
	}
	return groups, nil
}

// areTargets tells whether these are targets of a kita server.
func areTargets(groups []TargetGroup) bool {
	return groups != nil && !slices.ContainsFunc(groups, func(g TargetGroup) bool {
		noAddress := func(target string) bool {
			_, _, err := net.SplitHostPort(target)
			return err != nil
		}
		return len(g.Targets) == 0 || g.Labels[labelRole] == "" || slices.ContainsFunc(g.Targets, noAddress)
	})
}

// rename has g at another host, at the same ports.
func (g TargetGroup) rename(host string) {
	at := func(address string) string {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return address
		}
		return net.JoinHostPort(host, port)
	}
	for i, target := range g.Targets {
		g.Targets[i] = at(target)
	}
	g.Labels[labelHost] = host
	g.Labels[labelServer] = at(g.Labels[labelServer])
}

// Asked is what the server was known by from which g is.
func (g TargetGroup) Asked() string { return g.Labels[labelAsked] }
