package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fault is a row of the table.
type fault struct {
	name, pass string
	// full is the count of `make chaos`, short that of `go test`.
	full, short int
	run         func(t *testing.T, c *trial)
}

// trial is one fault as one user.
type trial struct {
	*row
	as   account
	rand *rand.Rand
	// full: the counts and the times are those of the table.
	full bool
	// scale multiplies counts, not times.
	scale int
}

// lasting is how long a fault of the table's duration lasts.
func (c *trial) lasting(full, short time.Duration) time.Duration {
	if c.full {
		return full
	}
	return short
}

// between is a random time, to choose a moment by.
func (c *trial) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rand.Int64N(int64(most-least)))
}

// skip says, in the table as well, why the fault cannot be inflicted here.
func (c *trial) skip(t *testing.T, format string, args ...any) {
	t.Helper()
	c.measure(format, args...)
	t.Skipf(format, args...)
}

// account is who an instance runs as.
type account struct {
	name string
	id   int
}

var nobody = account{"nobody", 65534}

// accounts are root and nobody where the harness is root, else its own user.
func accounts() []account {
	if os.Geteuid() != 0 {
		return []account{{strconv.Itoa(os.Geteuid()), os.Geteuid()}}
	}
	return []account{{"root", 0}, nobody}
}

// TestChaos inflicts every fault and prints the table.
func TestChaos(t *testing.T) {
	full := os.Getenv("KITA_CHAOS") == "full"
	scale := 1
	if text := os.Getenv("N"); text != "" && full {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("N=%s: give a whole number from 1", text)
		}
		scale = n
	}
	seed, err := seedOf(os.Getenv("KITA_CHAOS_SEED"))
	if err != nil {
		t.Fatal(err)
	}
	r := &report{}
	defer func() { r.print(os.Stdout, seed) }()
	for _, f := range faults() {
		for _, as := range accounts() {
			c := &trial{
				row: &row{fault: f.name, as: as.name, pass: f.pass, count: f.short},
				as:  as, full: full, scale: scale,
				rand: rand.New(rand.NewPCG(seed, uint64(len(f.name)+as.id))),
			}
			if full {
				c.count = f.full * scale
			}
			t.Run(strings.ReplaceAll(f.name, "/", " or ")+" as "+as.name, func(t *testing.T) {
				r.add(c.row)
				defer func() { c.verdict = verdictOf(t) }()
				f.run(t, c)
				if t.Failed() {
					t.Logf("KITA_CHAOS_SEED=%d", seed)
				}
			})
		}
	}
}

func verdictOf(t *testing.T) string {
	switch {
	case t.Failed():
		return "**fail**"
	case t.Skipped():
		return "skipped"
	}
	return "pass"
}

func seedOf(text string) (uint64, error) {
	if text == "" {
		return rand.Uint64N(1_000_000), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("KITA_CHAOS_SEED=%s: give a whole number", text)
	}
	return seed, nil
}
