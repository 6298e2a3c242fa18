// Package plan decides. For looks at one child's configuration, desired state
// and observed state and names at most one action, the time to look again, and
// the status to show. The reconciler calls it once a pass and does the action.
//
// It is pure: no goroutine, clock, randomness, logger or I/O. The observed
// state changes only through Observed's methods, one for each fact and for each
// effect of an action; a fact of another incarnation than the current one is
// dropped there and nowhere else.
//
// Invariants, checked by FuzzPlan:
//   - at most one live process a child;
//   - no action on another incarnation than the live one;
//   - desired stopped converges to nothing alive;
//   - a stale or spurious deadline does nothing.
package plan
