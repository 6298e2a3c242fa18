package logs

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kita/spec"
)

func TestTheSetChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web, db := newFake("web\n"), newFake("")
		db.write(time.Now().Add(-time.Hour), "old\n")
		inSet := func(child string, f *fake) Named { return Named{Child: child, Streams: both, Source: f} }
		set := &fakeSet{}
		set.set(inSet("web", web))
		r := follow(t, set, spec.LogRequest{})
		r.expect(t, `web/out+err "web\n"`, "caught up")

		set.set(inSet("db", db), inSet("web", web))
		db.write(time.Now(), "new\n")
		time.Sleep(setInterval)
		r.expect(t, `db/out+err "new\n"`)

		// What a child wrote before it was removed is sent.
		db.write(time.Now(), "last")
		set.set(inSet("web", web))
		time.Sleep(setInterval)
		r.expect(t, `db/out+err "last" partial`)
		if db.subscribers() != 0 {
			t.Error("it is still subscribed to what has left")
		}

		// One that comes back goes on where it was.
		db.write(time.Now(), " word\n")
		set.set(inSet("db", db), inSet("web", web))
		time.Sleep(setInterval)
		r.expect(t, `db/out+err " word\n"`)

		// Another file in its place: first the rest of the old one.
		other := newFake("")
		other.identity = "b"
		web.write(time.Now(), "web's last\n")
		set.set(inSet("web", other))
		other.write(time.Now(), "web's first\n")
		time.Sleep(setInterval)
		r.expect(t, `web/out+err "web's last\n"`, `web/out+err "web's first\n"`)

		// The same file by another hand.
		again := newFake("web's first\n")
		again.identity = "b"
		set.set(inSet("web", again))
		time.Sleep(setInterval)
		again.write(time.Now(), "and more\n")
		r.expect(t, `web/out+err "and more\n"`)

		// The same file under another name.
		set.set(Named{Child: "web", Streams: onlyOut, Source: again})
		time.Sleep(setInterval)
		again.write(time.Now(), "only out\n")
		r.expect(t, `web/out out "only out\n"`)
		r.end(t)
	})
}

// TestANewSourceTellsItsPlaceAtOnce: a client whose connection breaks before the
// source has anything to say goes on there, too.
func TestANewSourceTellsItsPlaceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFake("").write(time.Now().Add(-time.Hour), "old\n")
		set := &fakeSet{}
		r := follow(t, set, spec.LogRequest{})
		r.expect(t, "caught up")
		set.set(Named{Child: "db", Streams: onlyOut, Source: db})
		time.Sleep(setInterval)
		synctest.Wait()
		r.mu.Lock()
		defer r.end(t)
		defer r.mu.Unlock()
		if len(r.chunks) != 1 || r.chunks[0].Source != "db/out" || !strings.HasPrefix(r.chunks[0].Next, "4,") {
			t.Errorf("got %+v", r.chunks)
		}
	})
}
