// Command release builds what .goreleaser.yaml says: binaries, archives, packages,
// the list of what is in them and their checksums, as `goreleaser release
// --snapshot` does, and from the same file. goreleaser takes minutes to compile,
// this seconds, so that every run of the tests can build a release.
//
// It knows the keys that our file has. Any other is an error and not passed
// over, so that the file cannot mean less here than it does there. `make snapshot`
// runs goreleaser itself and the same tests on what it built.
//
//	release [-version V] [-only linux_amd64,...] [-dist DIR]   (from the root of the sources)
package main
