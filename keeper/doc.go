// Package keeper is the process above the server: it starts the server, starts
// it anew when it dies, passes signals on to it, and is there for the children
// while no server is. It has no network and reads no configuration, so that
// little can go wrong in it.
//
//	kita serve      the keeper: Run
//	  └ kita serve  the server: Attach
//	      └ web, db, ...
//
// When a server dies, the kernel gives its children to the keeper, a child
// subreaper or PID 1. The keeper looks at each one that ends without reaping it,
// appends how it ended to the log of ends in the run directory, and only then
// reaps it: no exit status is lost, whichever of the two processes is killed.
//
// # The link
//
// The two talk over one socketpair, descriptor 3 of the server. Each packet is
// one message of the server:
//
//	state DIR     this is its state directory
//	run ID DIR    the server has its run directory, handles signals, and has this id
//	ready         it serves
//	upgrade PATH  it is about to execute PATH in its place; without PATH: it is not
//	exit CODE     the end that follows is meant, the keeper ends with CODE
//
// What the server says of its directories is for the one that takes its place: it
// has them from its environment.
//
// The keeper says nothing but its presence: at the end of the stream the server
// ends in order and leaves the children alone, so that whatever started kita can
// start it again as two processes.
//
// # Invariants
//
// One goroutine, that of Run, owns all state and all waiting. Nothing here waits
// for a process in a way that could reap another. What to do about a server that
// ended is decided by policy, which has no clock and does nothing itself.
package keeper
