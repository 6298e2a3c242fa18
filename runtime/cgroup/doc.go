// Package cgroup gives each run of a child a control group of its own, so that
// no process of it can hide: neither by setsid, nor by a double fork, nor by
// clearing its environment. Limits of memory, processor and tasks are set there
// too. The package runtime makes and kills the groups; the keeper only reads
// their names.
//
// The groups of one server lie in base directories named kita-ID, ID being the
// id that the server keeps in its run directory. A run's group, the leaf, is
// named for the child and the incarnation, so that the kernel itself says whose
// a process is, of a zombie too.
//
// What the groups do not do: a child that runs as root, or to which somebody
// handed its group, can leave it by writing to another group's cgroup.procs, as
// can whoever manages groups on the machine. Such a process is out of reach
// here.
//
// Invariants: nothing outside a kita-ID of this server's id is ever written,
// killed or removed, except that controllers are switched on in the server's
// own group when a child wants a limit; a machine without control groups is no
// error, but a Tree of the kind None.
package cgroup
