package cgroup

import "syscall"

// Leaf is the group of one run.
type Leaf struct{ path string }

// Path names the directories, for Tree.Leaf.
func (l *Leaf) Path() string { return l.path }

// Run says whose the group is.
func (l *Leaf) Run() (child string, incarnation uint64) { return "", 0 }

// CloneFD is for CLONE_INTO_CGROUP, -1 when there is none.
func (l *Leaf) CloneFD() int { return -1 }

// Release closes CloneFD.
func (l *Leaf) Release() {}

// JoinFiles are where a process writes "0" to join.
func (l *Leaf) JoinFiles() []string { return nil }

// PIDs are the live processes.
func (l *Leaf) PIDs() ([]int, error) { return nil, nil }

// Empty says whether nothing lives in it.
func (l *Leaf) Empty() (bool, error) { return true, nil }

// AwaitEmpty waits until it is empty.
func (l *Leaf) AwaitEmpty(done <-chan struct{}) bool { return true }

// Signal sends a signal to every process.
func (l *Leaf) Signal(sig syscall.Signal) error { return nil }

// Kill kills every process.
func (l *Leaf) Kill() error { return nil }

// OOMKills counts processes killed for want of memory.
func (l *Leaf) OOMKills() (n uint64, known bool) { return 0, false }

// Frozen says whether somebody froze it.
func (l *Leaf) Frozen() bool { return false }

// Remove removes the directories.
func (l *Leaf) Remove() error { return nil }
