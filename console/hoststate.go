package console

// hostState is what is known of a host's server.
type hostState struct {
	name string
	// up: it answers. was: it has answered before.
	up, was bool
	// synced: every child that it has was told of.
	synced bool
	// err is why it does not answer.
	err error
}

func newHostStates(hosts []Host) []hostState {
	states := make([]hostState, len(hosts))
	for i, h := range hosts {
		states[i].name = h.Name
	}
	return states
}

// note takes down what the news say of the host itself.
func (h *hostState) note(n News) {
	switch {
	case n.Err != nil:
		h.up, h.err = false, n.Err
	case n.Up:
		h.up, h.was, h.err = true, true, nil
	}
}

// trouble is what is to be said of a host that does not answer, or nothing.
func (h *hostState) trouble(w *Words) string {
	if h.err == nil {
		return ""
	}
	what := "cannot be reached, trying again: "
	if h.was {
		what = "reconnecting: "
	}
	if h.name != "" {
		what = w.Printable(h.name) + ": " + what
	}
	return what + w.Printable(w.Error(h.err))
}
