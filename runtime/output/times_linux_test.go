package output

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"
)

// clock is when the samples of a test begin.
var clock = time.UnixMilli(1_800_000_000_000)

func second(seconds int) time.Time { return clock.Add(time.Duration(seconds) * time.Second) }

func noted(t *testing.T, x *times, seconds int, end uint64) {
	t.Helper()
	if err := x.note(second(seconds), end); err != nil {
		t.Fatal(err)
	}
}

func TestTimesOfPositions(t *testing.T) {
	samples := map[int]uint64{0: 10, 5: 20, 30: 30, 60: 40}
	tests := []struct {
		name string
		// next: by the next server, which has the index only.
		next bool
	}{{"of this server", false}, {"of the next server", true}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := &times{path: filepath.Join(t.TempDir(), "x.times")}
			for _, s := range []int{0, 5, 30, 60} {
				noted(t, x, s, samples[s])
			}
			if tt.next {
				x = &times{path: x.path}
				delete(samples, 5) // too soon after the one before
			}
			for s, end := range samples {
				if got := x.positionAt(second(s)); got != end {
					t.Errorf("at %d s was %d, want %d", s, got, end)
				}
				if got := x.timeOf(end - 1); !got.Equal(second(s)) {
					t.Errorf("%d was seen at %v, want %d s", end-1, got, s)
				}
			}
			if got := x.positionAt(second(-1)); got != 0 {
				t.Errorf("before all that was %d", got)
			}
			if got := x.positionAt(second(1000)); got != 40 {
				t.Errorf("after all that was %d", got)
			}
			if got := x.timeOf(40); !got.IsZero() {
				t.Errorf("what was not seen was seen at %v", got)
			}
		})
	}
}

func TestTimesSurviveWhatComesInBetween(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, x *times) *times
		// positions are those at 0, 20 and 100 s.
		want [3]uint64
	}{
		{"a torn sample", func(t *testing.T, x *times) *times {
			text, err := os.ReadFile(x.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(x.path, text[:len(text)-3], 0o600); err != nil {
				t.Fatal(err)
			}
			x = &times{path: x.path}
			noted(t, x, 100, 50)
			return x
		}, [3]uint64{10, 10, 50}},
		{"a clock that was ahead", func(t *testing.T, x *times) *times {
			noted(t, x, 1000, 30)
			noted(t, x, 100, 50)
			return x
		}, [3]uint64{10, 20, 50}},
		{"a clock that was ahead, and another server", func(t *testing.T, x *times) *times {
			noted(t, x, 1000, 30)
			x = &times{path: x.path}
			noted(t, x, 100, 50)
			return &times{path: x.path}
		}, [3]uint64{10, 20, 50}},
		{"positions that began anew", func(t *testing.T, x *times) *times {
			x = &times{path: x.path}
			noted(t, x, 100, 15)
			return &times{path: x.path}
		}, [3]uint64{10, 10, 15}},
		{"no index any more", func(t *testing.T, x *times) *times {
			if err := os.Remove(x.path); err != nil {
				t.Fatal(err)
			}
			x = &times{path: x.path}
			noted(t, x, 100, 50)
			return x
		}, [3]uint64{0, 0, 50}},
		{"a trim", func(t *testing.T, x *times) *times {
			noted(t, x, 100, 50)
			if err := x.trim(20); err != nil {
				t.Fatal(err)
			}
			return &times{path: x.path}
		}, [3]uint64{0, 0, 50}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := &times{path: filepath.Join(t.TempDir(), "x.times")}
			noted(t, x, 0, 10)
			noted(t, x, 20, 20)
			x = tt.do(t, x)
			got := [3]uint64{x.positionAt(second(0)), x.positionAt(second(20)), x.positionAt(second(100))}
			if got != tt.want {
				t.Errorf("positions %v, want %v", got, tt.want)
			}
			if st, err := os.Stat(x.path); err != nil || st.Size()%sampleSize != 0 {
				t.Errorf("the index: %v, %v", st, err)
			}
		})
	}
}

// TestTimesNeverMissWhatIsNew holds them against all that was ever noted.
func TestTimesNeverMissWhatIsNew(t *testing.T) {
	x := &times{path: filepath.Join(t.TempDir(), "x.times")}
	random := rand.New(rand.NewPCG(1, 2))
	var all []sample
	now, end := 0, uint64(0)
	for range 5000 {
		now += 1 + random.IntN(20)
		end += uint64(1 + random.IntN(1000))
		noted(t, x, now, end)
		all = append(all, sample{second(now).UnixMilli(), end})
	}
	for range 2000 {
		i := random.IntN(len(all))
		from := x.positionAt(all[i].time())
		if from > all[i].end {
			t.Fatalf("from %d on what was written at %v, where it ended at %d", from, all[i].time(), all[i].end)
		}
		// On disk there is one each 30 s at least.
		j := sort.Search(i, func(j int) bool { return all[j].at > all[i].at-30_000 }) - 1
		if j >= 0 && from < all[j].end {
			t.Fatalf("from %d on what was written at %v, 30 s before that it ended at %d", from, all[i].time(), all[j].end)
		}
		if seen := x.timeOf(all[i].end - 1); seen.Before(all[i].time()) {
			t.Fatalf("%d was seen at %v, before it was written at %v", all[i].end-1, seen, all[i].time())
		}
	}
}

func TestTimesAreBounded(t *testing.T) {
	x := &times{path: filepath.Join(t.TempDir(), "x.times")}
	for i := range 2 * timesOnDisk {
		noted(t, x, 10*i, uint64(i+1))
	}
	st, err := os.Stat(x.path)
	if err != nil || st.Size() > (timesOnDisk+1)*sampleSize {
		t.Errorf("the index has %d bytes, %v", st.Size(), err)
	}
	if len(x.recent) > timesRecent {
		t.Errorf("%d samples are in memory", len(x.recent))
	}
	if got := x.positionAt(second(10 * 100)); got == 0 || got > 101 {
		t.Errorf("long ago it was %d", got)
	}
}

func TestNothingWrittenHasNoIndex(t *testing.T) {
	x := &times{path: filepath.Join(t.TempDir(), "x.times")}
	noted(t, x, 0, 0)
	if err := x.flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(x.path); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}
