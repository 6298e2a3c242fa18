// Package history keeps what happened to the children of a state directory: a
// file of events, a JSON object a line, that outlives servers and reboots.
//
// The reconciler adds events, control's service reads them. The file is the whole
// history: nothing of it is kept in memory, and its size is bounded, see compact.go.
//
// Invariants: Add never waits for the disk, and a disk that fails holds up no
// child: what cannot be written is counted, and told of by an event once there is
// room again. One goroutine writes, what has come together in one write(2). It does
// not sync: a power cut may cost the latest events, a server that is killed those
// of the last few milliseconds. Seq only grows. Whoever follows is told that there
// is something new and reads the file, so that a slow reader costs nothing.
package history
