// Command goreleaser builds what .goreleaser.yaml says: binaries, archives, packages,
// the list of what is in them and their checksums. It is goreleaser, without what
// publishes: its own steps, in its own order, linked from its module. The whole of it
// is 1,500 packages, because each cloud and forge that it could publish to comes with a
// library, and compiles for minutes. What a snapshot takes is 290, so that every run of
// the tests can build a release with it.
//
// A section of the file that belongs to a step which is not linked is an error and not
// passed over. A test compares the steps with those of goreleaser, and `make
// snapshot` the checksums of what both make.
//
// The steps are internal packages of goreleaser, which Go lets no other module import but
// one whose path is below goreleaser's. Hence the name of this one.
//
//	goreleaser [-single-target]   (from the root of the sources)
package main
