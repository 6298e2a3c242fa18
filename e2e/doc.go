// Package e2e holds the end-to-end tests: they build the real binary, run it as
// a user does, and look at nothing but what a user sees: files, sockets, exit
// statuses and processes.
//
// testdata/script has a script for each behaviour carried over from
// supervisor-rs; the Go tests are for what a script cannot express: odd
// segments on the wire, storms of malformed input, latencies, restarts of the
// server, and a real Prometheus.
//
// The documents are run, too (TestDocs): every block of shell in README.md and
// docs, page by page, each page in namespaces of its own made by
// testdata/docs/sandbox.sh. What a page needs besides stands in comments that its
// readers do not see: `<!-- test: setup` and shell, with the functions of
// testdata/docs/lib.sh, and before a block lines as `until "text" | kita logs`,
// `status 3 | kita check`, `background | kita serve`; docspage_test.go has all.
//
// Every test has a directory and a loopback address of its own, so that the
// fixed port 33889 can be used by many servers at once. Every process it starts
// carries a mark in its environment; one that is left behind after `kill` fails
// the test.
package e2e
