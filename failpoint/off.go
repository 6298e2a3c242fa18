//go:build !failpoint

package failpoint

// Enabled tells whether Hit can do anything.
const Enabled = false

// Hit is passed at a step.
func Hit(string) {}
