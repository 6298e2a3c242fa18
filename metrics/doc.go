// Package metrics shows a server and its children to Prometheus.
//
// What a child is doing is read when Prometheus asks, from the same views that
// clients see, so the two cannot disagree and a forgotten child leaves nothing
// behind. What happened between two scrapes is counted as it happens: the
// reconciler and control call the methods of Metrics, which never block on
// anything but a short lock. It imports neither of them.
//
// Every label but child has a closed set of values; one that is not in it is
// counted as "unknown", so that no caller can make the number of series grow.
package metrics
