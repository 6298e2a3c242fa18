// Package failpoint lets the fault tests stop the program at a chosen step. A
// program built without the tag failpoint has none of it: Hit is empty and
// costs nothing.
//
// With the tag, KITA_FAILPOINT=STEP:ACTION:FILE arms one step. The process that
// passes it while FILE exists removes FILE and then does ACTION: panic, or kill,
// which is SIGKILL to itself. So a fault happens once for each time that a test
// makes the file, whoever of the restarted servers comes by. An ACTION of "5ms" makes
// each pass of the step take so much longer, whether there is a FILE or not: with
// the step Journal, a disk that is slow to sync.
//
// Steps are named where they are passed; Steps lists them.
package failpoint

// Steps are the steps that call Hit.
const (
	// Fork: the process of a start lives, and nothing knows of it yet.
	Fork = "fork"
	// Save: the state of a child is about to be written.
	Save = "save"
	// Record: an exit was seen, and is not on disk yet.
	Record = "record"
	// Reap: an exit is on disk, and the zombie is still there.
	Reap = "reap"
	// Journal: a record was appended to the journal, and not synced yet.
	Journal = "journal"
	// Rename: a new file is about to take the place of the old one, or half of
	// a child's new state has been written.
	Rename = "rename"
)

// Steps returns all of them.
func Steps() []string { return []string{Fork, Save, Record, Reap, Journal, Rename} }
