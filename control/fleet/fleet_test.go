package fleet

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseHosts(t *testing.T) {
	tests := []struct {
		name  string
		words []string
		want  []string
	}{
		{"none", nil, []string{"127.0.0.1:33889"}},
		{"separators", []string{"a,b c", " d , ,e,"}, []string{"a:33889", "b:33889", "c:33889", "d:33889", "e:33889"}},
		{"addresses", []string{"10.0.0.1,::1,[::1]:1234,[fe80::1%eth0]"}, []string{"10.0.0.1:33889", "[::1]:33889", "[::1]:1234", "[fe80::1%eth0]:33889"}},
		{"ports", []string{"host:1234,10.0.0.1:65535,localhost"}, []string{"host:1234", "10.0.0.1:65535", "localhost:33889"}},
		{"duplicates are asked once", []string{"a", "A,a:33889", "::1 0:0::1 [::1]"}, []string{"a:33889", "[::1]:33889"}},
		{"names", []string{"web-1.example.com. my_host 1und1.de"}, []string{"web-1.example.com.:33889", "my_host:33889", "1und1.de:33889"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hosts, err := ParseHosts(tt.words)
			var got []string
			for _, h := range hosts {
				got = append(got, h.Addr())
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestParseHostsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"ssh://ops@h":     "ssh:// is not supported yet",
		"http://h":        "http:// is not supported, write the host alone",
		"h:0":             `"0" is no port`,
		"h:65536":         `"65536" is no port`,
		"h:":              `"" is no port`,
		":1":              "the name is empty",
		"256.0.0.1":       "it is no IPv4 address",
		"1.2.3":           "it is no IPv4 address",
		"::1:g":           "several colons",
		"[::1":            "the ] is missing",
		"[::1]x":          `"x" stands after the ]`,
		"[::1]:":          `"" is no port`,
		"[10.0.0.1]:1":    "brackets are for an IPv6 address",
		"a/b":             `'/' cannot be in a host name`,
		"-a":              "neither an address nor a host name",
		"a..b":            "neither an address nor a host name",
		",":               "no host is named",
		"good,bad!,h:x,h": `host "bad!"`,
	} {
		if hosts, err := ParseHosts([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want an error with %q", text, hosts, err, want)
		}
	}
	// All that is wrong is said at once.
	if _, err := ParseHosts([]string{"a!", "b!"}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error %v, want two lines", err)
	}
}

func TestAddressesReadAgainAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"fe80::1%eth0", "fe80::1%]", "fe80::1%a%b", "::ffff:10.0.0.1"} {
		list, err := ParseHosts([]string{text})
		if err != nil {
			// A zone with such a sign could not be written with a port.
			if !strings.Contains(err.Error(), "is no zone") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		again, err := ParseHosts([]string{list[0].Addr()})
		if err != nil || again[0] != list[0] {
			t.Errorf("%q: %v reads again as %v, %v", text, list[0], again, err)
		}
	}
}

func FuzzParseHosts(f *testing.F) {
	for _, seed := range []string{"a,b c", "[::1]:1234", "::1", "h:1", "ssh://x@y", "[", "1.2.3.4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hosts, err := ParseHosts([]string{text})
		if err != nil {
			return
		}
		for _, h := range hosts {
			again, err := ParseHosts([]string{h.Addr()})
			if err != nil || len(again) != 1 || again[0] != h {
				t.Errorf("%q: %v reads again as %v, %v", text, h, again, err)
			}
		}
	})
}

func hosts(names ...string) []Host {
	var list []Host
	for _, n := range names {
		list = append(list, Host{Name: n, Port: 1})
	}
	return list
}

func TestEachKeepsTheOrderAndEveryAnswer(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		got := Each(t.Context(), hosts("slow", "bad", "hangs", "fast"), Limits{Timeout: time.Minute}, func(ctx context.Context, h Host) (string, error) {
			switch h.Name {
			case "slow":
				time.Sleep(time.Second)
			case "bad":
				return "", broken
			case "hangs":
				<-ctx.Done()
				return "", ctx.Err()
			}
			return h.Name + " says hi", nil
		})
		list := hosts("slow", "bad", "hangs", "fast")
		want := []Result[string]{
			{list[0], "slow says hi", nil}, {list[1], "", broken},
			{list[2], "", context.DeadlineExceeded}, {list[3], "fast says hi", nil},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestEachIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		Each(t.Context(), hosts("a", "b", "c", "d", "e"), Limits{Parallel: 2}, func(context.Context, Host) (int, error) {
			time.Sleep(time.Second)
			return 0, nil
		})
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("five hosts, two at a time, a second each, took %v", took)
		}
	})
}

func TestEachWithAnEndedContextAsksNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := Each(ctx, hosts("a", "b"), Limits{}, func(context.Context, Host) (int, error) {
		t.Error("asked")
		return 0, nil
	})
	for _, r := range got {
		if !errors.Is(r.Err, context.Canceled) {
			t.Errorf("%v: error %v", r.Host, r.Err)
		}
	}
	if len(got) != 2 {
		t.Errorf("%d results", len(got))
	}
}
