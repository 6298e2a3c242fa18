package fleet

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
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

func TestParseHostsOverSSH(t *testing.T) {
	for text, want := range map[string]Host{
		"ssh://web":                       {SSH: true, Name: "web"},
		"SSH://Ops@Web-1:2222":            {SSH: true, User: "Ops", Name: "Web-1", Port: 2222},
		"ssh://root@10.0.0.1":             {SSH: true, User: "root", Name: "10.0.0.1"},
		"ssh://[::1]:22":                  {SSH: true, Name: "::1", Port: 22},
		"ssh://u@[0:0::1]":                {SSH: true, User: "u", Name: "::1"},
		"ssh://u@realm@[fe80::1%25eth0]":  {SSH: true, User: "u@realm", Name: "fe80::1%eth0"},
		"ssh://DOMAIN%5cu@h.example.com.": {SSH: true, User: `DOMAIN\u`, Name: "h.example.com."},
	} {
		got, err := ParseHosts([]string{text})
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
			continue
		}
		again, err := ParseHosts([]string{got[0].String()})
		if err != nil || again[0] != want {
			t.Errorf("%s: %s reads again as %+v, %v", text, got[0], again, err)
		}
	}
}

func TestParseHostsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"ssh://":          "the name is empty",
		"ssh://@h":        "the user before the @ is empty",
		"ssh://ops:x@h":   "a password cannot be given here",
		"ssh://h/":        `"/" stands after the host: write ssh://user@host:port`,
		"ssh://h?x=1":     `"?x=1" stands after the host`,
		"ssh://h:0":       `"0" is no port`,
		"ssh://::1":       "an IPv6 address needs brackets here, as in ssh://[::1]",
		"ssh://-x@h":      `"-x" is no name of a user`,
		"ssh://a%0ab@h":   "is no name of a user",
		"ssh://%zz@h":     "invalid URL escape",
		"ssh://-oProxy":   "neither an address nor a host name",
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
		"root@db1":        `a login is that of the host's sshd, write ssh://root@db1`,
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
	for _, seed := range []string{"a,b c", "[::1]:1234", "::1", "h:1", "ssh://x@y", "ssh://%40@[::1%25a]:1", "[", "1.2.3.4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hosts, err := ParseHosts([]string{text})
		if err != nil {
			return
		}
		for _, h := range hosts {
			again, err := ParseHosts([]string{h.String()})
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

func TestStreamYieldsEachResultAsSoonAsItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var order []string
		for i, result := range Stream(t.Context(), hosts("3s", "1s", "2s"), Limits{}, func(_ context.Context, h Host) (string, error) {
			d, err := time.ParseDuration(h.Name)
			time.Sleep(d)
			return h.Name, err
		}) {
			order = append(order, result.Value)
			if took := time.Since(start).String(); took != result.Value || hosts("3s", "1s", "2s")[i] != result.Host {
				t.Errorf("%v, place %d, after %v", result, i, took)
			}
		}
		if want := []string{"1s", "2s", "3s"}; !slices.Equal(order, want) {
			t.Errorf("got %q, want %q", order, want)
		}
	})
}

func TestLeavingAStreamEndsWhatItAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		for range Stream(t.Context(), hosts("fast", "hangs", "never"), Limits{Parallel: 2}, func(ctx context.Context, h Host) (int, error) {
			switch h.Name {
			case "hangs":
				<-ctx.Done()
				ended++
			case "never":
				// It may have its turn before the loop is left.
				<-ctx.Done()
			}
			return 0, nil
		}) {
			break
		}
		if ended != 1 {
			t.Errorf("the host that hangs has ended %d times", ended)
		}
	})
}

func TestAFailureStopsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]bool{}
		list := hosts("a", "b", "c", "d", "e")
		var mu sync.Mutex
		got := Each(t.Context(), list, Limits{Parallel: 2, StopAtFailure: true}, func(_ context.Context, h Host) (int, error) {
			mu.Lock()
			asked[h.Name] = true
			mu.Unlock()
			time.Sleep(time.Second)
			if h.Name == "b" || h.Name == "c" {
				time.Sleep(time.Second)
				return 0, errors.New("broken")
			}
			return 0, nil
		})
		// c had been asked when b failed; it is left to end.
		if want := map[string]bool{"a": true, "b": true, "c": true}; !reflect.DeepEqual(asked, want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
		for i, want := range []string{"", "broken", "broken", "not asked, because b:1 failed", "not asked, because b:1 failed"} {
			if text := fmt.Sprint(got[i].Err); text != want && (want != "" || got[i].Err != nil) {
				t.Errorf("%v: %v, want %q", list[i], got[i].Err, want)
			}
			if wasAsked(got[i].Err) != asked[list[i].Name] {
				t.Errorf("%v: asked %v", got[i].Err, wasAsked(got[i].Err))
			}
		}
	})
}

// wasAsked tells whether the host with this error was sent anything.
func wasAsked(err error) bool {
	var not *NotAsked
	return !errors.As(err, &not)
}

func TestAnEndedContextIsWhyTheRestIsNotAsked(t *testing.T) {
	enough := errors.New("it is enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	got := Each(ctx, hosts("a", "b"), Limits{Parallel: 1, StopAtFailure: true}, func(ctx context.Context, _ Host) (int, error) {
		cancel(enough)
		return 0, ctx.Err()
	})
	if wasAsked(got[1].Err) || !errors.Is(got[1].Err, enough) {
		t.Errorf("the second: %v", got[1].Err)
	}
}
