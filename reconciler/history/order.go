package history

// maxJump is more than Seq can grow by from one line to the next: what a line at the
// end claims beyond that was damaged, and would leave no numbers for what comes.
const maxJump = 1 << 40

// order finds the lines whose numbers were damaged: all others grow. A line is held
// until the next one says whether it was too large. The zero value is that of a file
// that is read from its beginning.
type order struct {
	// last is the number of the latest line that was right, held that of the one
	// behind it; 0 for none.
	last, held uint64
}

// take takes the number of the next line. release: the one that was held is right.
// hold: this one is held now; where it is not, it is too small to be right.
func (o *order) take(seq uint64) (release, hold bool) {
	switch {
	case seq <= o.last:
		return false, false
	case seq <= o.held:
		// That one would have come after this.
		o.held = seq
		return false, true
	}
	release = o.end()
	o.held = seq
	return release, true
}

// end is for what has no next line yet: the one that is held is right, if there is
// one.
func (o *order) end() (release bool) {
	if o.held == 0 {
		return false
	}
	o.last, o.held = o.held, 0
	return true
}

// latest is the number that the next one has to be larger than.
func (o *order) latest() uint64 {
	if o.held > o.last+maxJump {
		return o.last
	}
	return max(o.last, o.held)
}
