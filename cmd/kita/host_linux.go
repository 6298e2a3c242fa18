package main

import (
	"log/slog"

	"kita/keeper"
	"kita/reconciler/store"
	"kita/runtime"
	"kita/runtime/cgroup"
)

// newHost makes what looks after the processes. The caller closes both.
func newHost(sink runtime.Sink, st *store.Store, dirs keeper.Dirs, budget func() uint64, link *keeper.Link, logger *slog.Logger) (*runtime.Host, *cgroup.Tree) {
	var self []int
	if pid := link.PID(); pid != 0 {
		self = append(self, pid)
	}
	tree := cgroup.Open(cgroup.Options{ID: st.ID(), Logger: logger, Self: self})
	return runtime.New(sink, runtime.Options{
		Logger: logger, ID: st.ID(), Cgroups: tree, Keeper: link.PID(), Inherits: link.Follows(), Strangers: link.Strangers(),
		RunDir: dirs.Run, StateDir: dirs.State, Budget: budget, Locks: st.Locks(),
	}), tree
}
