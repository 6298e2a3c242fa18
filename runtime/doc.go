// Package runtime looks after processes on this operating system: it launches
// a child's process, adopts one that a former server launched, watches it end,
// and signals its process group. The reconciler calls it and gets facts back
// through a Sink; it decides nothing.
//
// Its name shadows the standard library's; import that one as goruntime.
//
// # How a process is launched
//
// The direct path is one vfork and exec by the syscall package, with a process
// group of its own, in a thread whose descriptor table is all but empty: with
// 10,000 pidfds in it a fork costs eight times as much. Everything that can be
// checked before the fork is, because the kernel's answer afterwards is one
// errno for a dozen system calls.
//
// Limits, umask and nice need code that runs between fork and exec, which Go
// has no room for. Only when one of them is asked for, or when the server
// itself ignores or blocks signals that a child must not, the server's own
// binary is executed first, as a shim: it reads a launch plan from a pipe,
// applies it and executes the command, so that PID and group are those of the
// child from the first instant. That is why a main function must call
// Main before anything else.
//
// # What belongs to a run
//
// Where cgroups can be had each run has a leaf of its own, from the first
// instant, and that leaf is the truth: nothing that a program does to hide gets
// it out. Elsewhere a run is the process group of its leader, what descends from
// it, and what bears its tokens in the environment. An orphan without tokens is
// of the only run that can have made it; where there are several, Strayed tells
// that it is left, and nothing is killed on suspicion.
//
// # What outlives the server
//
// A child's exit is appended to a log before the zombie is reaped, here as in the
// keeper, to which the children of a dead server go: so each exit is in the log,
// in a zombie, or unknown to the kernel itself. A process travels with its
// identity: its cgroup's name, and KITA_CHILD, KITA_INCARNATION and KITA_SERVER in
// its environment, by which Found tells a process that was forked and not saved.
//
// # Invariants
//
//   - Exited comes before Emptied; either comes at most once per incarnation.
//   - A group number is signalled only while something pins it: the leader
//     that has not been reaped, or the pidfd itself (Linux 6.9). A recycled
//     PID is never signalled.
//   - A child inherits descriptors 0, 1 and 2 and no other, no blocked or
//     ignored signal, and no parent-death signal.
//   - A watched process costs a descriptor, and while it goes on no goroutine and
//     no thread.
//   - Close leaves every process running.
//
// Linux 5.4 is the least it works with; 6.9 makes group signals exact and 6.15
// tells the exit status of a process that is not the server's child.
package runtime
