// Package output keeps the children's output files: it opens them safely,
// rotates them in place, limits what they take, and reads them as if they had
// never been rotated. Package runtime calls it for launches, and what answers
// `kita logs` reads through it.
//
// # How a file is rotated
//
// A child writes straight to its file, opened O_APPEND, and nobody else ever
// appends to it. A Manager copies the file's head to an archive, PATH.000001 and
// so on, writes down that it did, and then frees the head: by punching a hole,
// which every file system in use can, and by collapsing the hole away where the
// file system can (ext4, xfs) and when it holds nobody up. Elsewhere (tmpfs,
// btrfs) the file keeps its length and is sparse. Archives end at a line end;
// they are packed afterwards.
//
// The position of a byte in the stream counts those ever written before it, and
// never changes. The record of a file says which position its first byte has
// (the base), which the first that is in no archive (the head), and what the
// archives hold. It is on disk from the first rotation on, in STATE_DIR/output.
//
// # What a crash finds
//
// The order is: the number of the archive is recorded; the archive is written,
// synced and named; the record takes it in and moves the head; the head is
// freed; its collapse is recorded; it collapses. The record is synced each time.
// So at any point each byte is where the record says: before the record has the
// archive in the live file, after that in the archive. An archive that the
// record does not have is removed. Freeing can be done twice. Whether a collapse
// was done shows in the file: it begins with the hole or it does not.
//
// A record may be stale: the file was truncated and has grown again unseen, or
// the state directory is an older one. So it has the last bytes before the head
// too, and nothing is freed where the file has others there. It also says how far
// the head was freed: data there was written since. What both do not tell is
// another content that has the same bytes, up to 1 KiB, in that place (one line
// over and over, or the same numbers from the beginning) where nothing was freed
// that this boot knows of: the server was killed between the record and the
// freeing, the machine went down, or the base had just moved to the head's block.
//
// There is one record for a file, by its path with the links to its directory
// resolved. A file that a launch finds by another path takes over what was known
// of it by the former one.
//
// # Invariants
//
//   - Base <= head <= end, and base moves to a whole block only by a collapse.
//   - A byte of the live file is read only while the head is known not to pass it.
//   - An archive never takes the place of another file, and nothing is removed
//     that the record does not name, but what it says is being made.
//   - Everything in a directory is reached through its descriptor, without
//     following a link: it may be an ordinary user's while the server is root.
//   - A file of which a rotation fails keeps growing and loses nothing.
package output
