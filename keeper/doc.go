// Package keeper is the process above the server: it starts the server, starts
// it anew when it dies, passes signals on to it, and is there for the children
// while no server is. It accepts no connection and reads no configuration, so
// that little can go wrong in it.
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
//	hold USE ADDR with a descriptor: this socket listens, for the next server too
//	status TEXT   how the children are, for systemctl status
//	reloading     it reads its files again; reloaded: it has
//	beat          its loop moves
//	extend MICROS it is stopping the children, which takes that much longer
//
// What the server says of its directories is for the one that takes its place: it
// has them from its environment.
//
// The keeper says one thing, `hold`: it has no listeners, because it has just become
// another version, and wants those of the server. Its presence says the rest: at the end of the stream the server
// ends in order and leaves the children alone, so that whatever started kita can
// start it again as two processes.
//
// # The listeners
//
// A server that dies leaves its listeners with the keeper, which hands them to the
// next one: who connects meanwhile waits, and nobody is refused. Those that a
// service manager listens on come the same way. The keeper never accepts.
//
// # The service manager
//
// systemd knows the keeper, and it alone speaks to systemd. Its watchdog watches
// the keeper; the keeper watches the server by its beats, and only where systemd
// watches. See herald.
//
// # Invariants
//
// One goroutine, that of Run, owns all state and all waiting. Nothing here waits
// for a process in a way that could reap another. What to do about a server that
// ended is decided by policy, which has no clock and does nothing itself.
package keeper
