package logs

import "time"

// resolve looks which sources the set has now. One that has left it is sent to
// its end first, and so is one in whose place there is another file.
func (s *sender) resolve(now time.Time) error {
	before := s.resolved
	s.resolved = now
	there := map[string]bool{}
	var entering []Named
	for _, n := range s.set.Sources() {
		name := n.name()
		if !s.wants(&n) || there[name] {
			continue
		}
		there[name] = true
		if r := s.readings[name]; r != nil {
			s.renew(r, n, before)
			continue
		}
		entering = append(entering, n)
	}
	for name, r := range s.readings {
		if !there[name] && (!r.leaving || r.successor != nil) {
			r.leaving, r.successor = true, nil
			s.bell.ring(r)
		}
	}
	for _, n := range entering {
		if err := s.enter(n, before); err != nil {
			return err
		}
	}
	return nil
}

// renew brings a source up to date that the set still has.
func (s *sender) renew(r *reading, n Named, before time.Time) {
	if n.Source != r.Source && identityOf(n.Source) != r.identity {
		if r.successor == nil {
			r.replaced = before
		}
		r.leaving, r.successor = true, &n
		s.bell.ring(r)
		return
	}
	same := n.Source == r.Source
	r.Named, r.leaving, r.successor = n, false, nil
	if same {
		return
	}
	// The same file by another hand: it goes on where it was.
	r.end()
	s.subscribe(r)
	s.bell.ring(r)
}

// enter takes in a source that was not there before, and tells the client where
// it begins. One that was there earlier goes on where it left; of another, what
// was written before the last look at the set is not sent.
func (s *sender) enter(n Named, before time.Time) error {
	r := s.add(n)
	r.identity = identityOf(r.Source)
	if c, known := s.earlier(r); known {
		r.err = s.resume(r, c)
	} else {
		r.err = s.appear(r, before.Add(-lateness))
	}
	s.bell.ring(r)
	if r.begun = r.err == nil; !r.begun {
		return nil
	}
	return s.sendPlace(r)
}

// earlier is where the source was read to under this name before, or under one
// that it has just lost.
func (s *sender) earlier(r *reading) (c cursor, known bool) {
	for _, name := range namesOf(r.Child) {
		o := s.readings[name]
		if o == nil || o == r || !o.leaving || o.successor != nil || o.identity != r.identity {
			continue
		}
		o.end()
		delete(s.readings, name)
		return o.cursor(time.Now()), true
	}
	c, known = s.left[r.name]
	delete(s.left, r.name)
	return c, known
}

// leave forgets a source that has been sent to its end.
func (s *sender) leave(r *reading) error {
	r.end()
	delete(s.readings, r.name)
	if r.successor != nil {
		return s.enter(*r.successor, r.replaced)
	}
	s.left[r.name] = r.cursor(time.Now())
	return nil
}
