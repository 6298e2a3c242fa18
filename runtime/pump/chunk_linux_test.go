package pump

import "testing"

func TestChunksOfABurstAreGivenBack(t *testing.T) {
	burst := make([][]byte, spareChunks+1)
	for i := range burst {
		burst[i] = takeChunk()
	}
	for _, chunk := range burst {
		giveChunk(chunk)
	}
	if len(spare) != spareChunks {
		t.Errorf("%d chunks are kept while there is much to do, want %d", len(spare), spareChunks)
	}
	giveBackChunks()
	if len(spare) != quietChunks {
		t.Errorf("%d chunks are kept, want %d", len(spare), quietChunks)
	}
}
