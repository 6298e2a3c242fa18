// Package pump is the process that writes lines with time stamps, prefixes or as
// JSON for the streams that ask for it, and the server's side of it. The runtime
// calls it; streams without a format have nothing to do with it.
//
// # How a line gets to its file
//
// The process of a child writes into a FIFO in the run directory, which it has
// open for reading and writing: it is itself a reader, so that no death of others
// gives it EPIPE or SIGPIPE. The server opens the file, as whoever may, and gives
// the pump both descriptors. The pump opens nothing by path. One goroutine a
// stream reads, formats and queues, one a file writes; an idle stream has no
// buffer, and a file that streams share has one queue, so that lines never mix.
//
// A line of more than 64 KiB is written in pieces: in text all but the last end
// with " [kita: the line goes on]", in JSON they are marked as partial. A line that
// is not finished is held back for a second. Then text is written without a line
// end, so that it can go on; if a line of another stream comes first, that ends it
// with the mark.
//
// # Who outlives whom
//
//   - The pump outlives its server. It ends when it has neither a server nor a
//     stream; whether one is alive the kernel tells, by who has the lock of
//     RUN_DIR/pump/log. There is never more than one.
//   - A server that finds a pump learns all of its streams from it, and gets the
//     descriptors. A pump with other messages than the server's is told to finish,
//     and leaves what it could not write to the next one.
//   - A pump that dies is replaced at once, and one that does not answer within
//     some seconds is killed. It is asked while something is in a FIFO from time
//     to time: nobody misses one that has nothing to do. What waited in the FIFOs
//     is still there: the server has each open for reading. Lost is at most what
//     the pump had read and not written; the next one begins with a line that
//     says so.
//   - What is in the FIFO of a process that ended is lost only if pump and server
//     died, too.
//
// # When the file cannot take it
//
// With OnFull Block the program waits. With Drop it is held up for at most 250 ms,
// and not again for 10 s once that was in vain: 4 MiB of a stream wait, then whole
// lines are dropped, counted, and told in the file once it can be written again.
// An error is told as the stream's fault, and the write tried again every second.
// A write(2) that hangs holds a thread: of one file system four at most. What such
// a write has when the pump is replaced is lost.
package pump
