// Package logs reads lines out of the output files of children, for whoever
// asks: the last ones, those since a time, those that match, and then what
// comes. It is called for `kita logs`, by the server; and by the runtime for the
// last lines of a run that failed.
//
// It knows nothing of rotation. A Source is a sequence of bytes in which a byte
// keeps its position for ever, whatever files it lies in; package output has
// them, and tests make their own.
//
// Invariants:
//   - Every byte from where a request begins is sent once and in order, or left
//     out by what the request says, or counted in a chunk's Lost. This holds over
//     connections, since a chunk says where to go on after it.
//   - A request is one goroutine, whatever the number of its sources. It does
//     not poll: a Source wakes it. It holds no lock while it sends, and open
//     files only for sources that have something to be read, openReaders at most.
package logs
