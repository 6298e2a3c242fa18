package output

import (
	"errors"
	"io/fs"
)

// arm watches an entry for these events, if it can. False: it did so before.
func (w *watcher) arm(e *entry, r report, mask uint32) bool {
	w.mu.Lock()
	if w.notify == nil || e.look.watch != 0 && e.look.mask == mask {
		w.mu.Unlock()
		return false
	}
	w.arming++
	w.mu.Unlock()
	watch, err := w.notify.add(r.at, mask)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && w.ctx.Err() == nil {
		w.warned.Do(func() { w.blind(err) })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arming--
	if e.look.watch != 0 {
		w.forgetWatch(e)
	}
	if err == nil && !w.missed[watch] {
		e.look.watch, e.look.mask = watch, mask
		w.watched[watch] = e
	}
	delete(w.missed, watch)
	if w.arming == 0 {
		clear(w.missed)
	}
	return true
}

// happened notes that a watch has ended with an event.
func (w *watcher) happened(watch int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if watch == overflow {
		for _, e := range w.watched {
			w.rouse(e)
		}
		return
	}
	e := w.watched[watch]
	if e == nil {
		if w.arming > 0 {
			w.missed[watch] = true
		}
		return
	}
	w.forgetWatch(e)
	w.setQuiet(e, 0)
	w.rouse(e)
}

func (w *watcher) forgetWatch(e *entry) {
	delete(w.watched, e.look.watch)
	e.look.watch = 0
}
