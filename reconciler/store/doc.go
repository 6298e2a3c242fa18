// Package store keeps on disk what a server must not forget: what is wanted of
// each child (the desired state) and what was last seen of it (facts). The
// reconciler is its only caller.
//
// Desired state is a journal in the state directory:
//
//	a1b2c3d4 {"format":1}
//	5e6f7a8b {"boot":"8d6c…"}
//	9c0d1e2f {"set":{"web":{"run":"running","generation":4,…}}}
//	…
//
// Each line is the CRC-32C of its JSON, a blank, and the JSON. One line is one
// change, in force whole or not at all. Every value is absolute, so reading a
// line twice is harmless. The file begins with a snapshot, the state as it was
// when the file was last rewritten, and every later change is appended. When
// the changes outgrow the snapshot the file is rewritten under another name
// and renamed, so that there is no moment with half of either.
//
// Facts are a table in the run directory, which a reboot is expected to empty;
// a table of another boot is void. It is one file with two places for each child,
// written in turn, so that a write makes, renames and frees nothing and a killed
// writer leaves what was in force. It is never synced: facts matter only while
// the kernel that would have to lose them is up.
//
// Invariants:
//
//   - SetDesired returns nil only once the change survives a power cut, and an
//     error only when it will not be seen by the next server.
//   - The state in memory is what a reader of the journal would find.
//   - A file that a write or a sync failed on is not appended to again before
//     it has been cut back or replaced.
//   - Nothing that was once acknowledged is thrown away silently: what cannot
//     be read is set aside as journal.bad and reported.
package store
