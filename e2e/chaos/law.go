package chaos

import (
	"hash/fnv"
	"strconv"
	"time"
)

// Code is the exit code of one run of a child that ends by itself: 3 to 202.
func Code(child string, incarnation uint64) int {
	return 3 + int((uint64(digest(child))+incarnation)%200)
}

// Life is how long that run lives: at least shortest, less than longest, and
// another time for each run.
func Life(child string, incarnation uint64, shortest, longest time.Duration) time.Duration {
	if longest <= shortest {
		return shortest
	}
	n := digest(child + "." + strconv.FormatUint(incarnation, 10))
	return shortest + time.Duration(n)*time.Microsecond%(longest-shortest)
}

func digest(text string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return h.Sum32()
}
