package pump

import "runtime/debug"

const (
	// chunkSize is the size of the large buffers: what is read at once, and about
	// what is written at once. More does not fit into the caches of a processor.
	chunkSize = 256 << 10
	// spareChunks are kept while nobody uses them. The garbage collector would
	// take those of a sync.Pool away, and making them anew costs as much as
	// writing what is in them.
	spareChunks = 32
	// quietChunks are kept also when nothing has been written for a while: for a
	// line now and then.
	quietChunks = 4
)

// spare are the chunks that nobody uses.
var spare = make(chan *[chunkSize]byte, spareChunks)

// takeChunk returns a large buffer. An idle stream has none.
func takeChunk() []byte {
	select {
	case chunk := <-spare:
		return chunk[:]
	default:
		return new([chunkSize]byte)[:]
	}
}

// giveChunk gives back a buffer, if it is a chunk, or one that began as one.
func giveChunk(buf []byte) {
	if cap(buf) != chunkSize {
		return
	}
	select {
	case spare <- (*[chunkSize]byte)(buf[:chunkSize]):
	default:
	}
}

// giveBackChunks gives the memory of a burst back to the kernel.
func giveBackChunks() {
	if len(spare) <= quietChunks {
		return
	}
	for len(spare) > quietChunks {
		select {
		case <-spare:
		default:
		}
	}
	debug.FreeOSMemory()
}
