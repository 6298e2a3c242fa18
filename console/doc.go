// Package console shows children of one or many hosts on a terminal while they
// change: the table of `kita check --watch` and the screen of `kita top`.
//
// A Feed follows the hosts, over restarts of their servers and of the network,
// and knows nothing of terminals. The models, Watch and Top, are what package
// tea calls so: values that messages change and that are drawn as text. They
// start no goroutine and read no clock; what takes time is a tea.Cmd over a
// source, for which the tests have a fake. Package main makes both, and gives
// them its words: what a phase looks like, how long ago something was.
//
// Invariants: what a host or a child says is escaped by those words before it is
// drawn; memory is bounded by the number of children and the lines that a screen
// can show; nothing is asked about a child that is not to be seen.
package console
