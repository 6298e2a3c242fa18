// Command workload is what the fault harness has kita run, and the few things
// around it that the harness cannot do in its own process. It has no
// dependency, so that it starts within a millisecond or two.
//
//	workload run [-live] [-brief D] [-long D] [-orphans N]   a child that keeps the ledger
//	workload escape                 a child with a grandchild that hides
//	workload bomb N                 a child that forks N times and never less
//	workload headless               a child whose main thread has ended
//	workload enter [FLAG…] -- COMMAND…   COMMAND in other groups and mounts
//	workload prlimit PID N          the descriptors that PID may have
package main
