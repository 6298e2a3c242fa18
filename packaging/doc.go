// Package packaging has what turns the sources into packages: the scripts that a
// package runs, the server.yml it brings, and the tests that build a release and
// install, upgrade and remove it for real. What a release is made of says
// .goreleaser.yaml.
package packaging
