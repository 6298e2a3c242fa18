package pump

import "sync"

// chunkSize is the size of the large buffers: what is read at once, and about
// what is written at once. More does not fit into the caches of a processor.
const chunkSize = 256 << 10

// chunks are large buffers that nobody uses. An idle stream has none.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

func takeChunk() []byte { return chunks.Get().(*[chunkSize]byte)[:] }

// giveChunk gives back a buffer, if it is a chunk, or one that began as one.
func giveChunk(buf []byte) {
	if cap(buf) == chunkSize {
		chunks.Put((*[chunkSize]byte)(buf[:chunkSize]))
	}
}
