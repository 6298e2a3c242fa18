// Package exitlog is an append-only file of ends: what the keeper writes of each
// process that it reaps in place of a dead server, for the next server to read.
//
// A record is one line, "xxxxxxxx {json}\n", with the CRC-32C of what follows the
// blank in front, as in the journal of desired state. The file is not synced: it
// tells of processes of this boot only, and the page cache outlives every
// process. There is one writer at a time, and any number of readers; a reader
// takes only lines that are complete and whole, so it needs no lock.
//
// The file is renamed to exits.1 when it has grown to MaxSize, and the one
// that had this name goes: what is on disk is bounded, and the last few ten
// thousand ends can be found.
package exitlog
