package main

import (
	"log/slog"

	"kita/reconciler/store"
	"kita/runtime"
	"kita/runtime/cgroup"
)

// newHost makes what looks after the processes. keeper is the PID of the keeper,
// 0 for none. The caller closes both.
func newHost(sink runtime.Sink, st *store.Store, runDir string, keeper int, logger *slog.Logger) (*runtime.Host, *cgroup.Tree) {
	var self []int
	if keeper != 0 {
		self = append(self, keeper)
	}
	tree := cgroup.Open(cgroup.Options{ID: st.ID(), Logger: logger, Self: self})
	return runtime.New(sink, runtime.Options{
		Logger: logger, ID: st.ID(), Cgroups: tree, Keeper: keeper, RunDir: runDir,
	}), tree
}
