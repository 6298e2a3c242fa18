package control

import (
	"bytes"
	"strings"
	"testing"
)

func TestFramingTellsRequestsApart(t *testing.T) {
	const (
		get   = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		plain = "GET / HTTP/1.1\nHost: a\n\n"
		body  = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	)
	for name, requests := range map[string][]string{
		"two without a body": {get, get},
		"bare newlines":      {plain, plain},
		"a body":             {body, get, body, body},
		"the first of more":  {get, "GET / HT"},
	} {
		t.Run(name, func(t *testing.T) {
			all := strings.Join(requests, "")
			// Whatever the segments are, no take crosses the end of a request.
			for size := 1; size <= len(all); size++ {
				var f framing
				at, end, next := 0, 0, 0
				for at < len(all) {
					if at == end {
						end, next = end+len(requests[next]), next+1
					}
					n, _ := f.take([]byte(all[at:min(at+size, len(all))]))
					if n <= 0 || at+n > end {
						t.Fatalf("segments of %d: took %d at %d, the request ends at %d", size, n, at, end)
					}
					at += n
				}
				if f.endless {
					t.Fatalf("segments of %d: the end is not known", size)
				}
			}
		})
	}
}

func TestFramingGivesUpWhereTheEndIsNotKnown(t *testing.T) {
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
	} {
		var f framing
		n, complete := f.take([]byte(request))
		if n != len(request) || !complete || !f.endless {
			t.Errorf("%q: took %d, complete %t, endless %t", request, n, complete, f.endless)
		}
	}
}

func FuzzFraming(f *testing.F) {
	f.Add([]byte(getHealth+post("/v1/stop", "{}")+getHealth), 7)
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size <= 0 || size > len(stream) {
			return
		}
		// Bytes are passed on in their order, each once, and the head that is
		// kept is the end of what was.
		var fr framing
		for at := 0; at < len(stream); {
			n, _ := fr.take(stream[at:min(at+size, len(stream))])
			if n <= 0 || n > size {
				t.Fatalf("took %d of %d", n, size)
			}
			at += n
			if !fr.endless && !bytes.HasSuffix(stream[:at], fr.head) {
				t.Fatalf("keeps %q, which is not the end of %q", fr.head, stream[:at])
			}
		}
	})
}
