package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// wireChildren are the children that the rows below speak of. No name begins
// another, so that a request that is cut within a name is not one itself.
var wireChildren = map[string]string{
	"alpha":   "command: /bin/sleep 1000\n",
	"ticks":   "command: /bin/sleep 1000\nrepeat: {seconds: 600}\n",
	"hooked":  "command: /bin/sleep 1000\nhooks: [{prehook: start alpha}]\n",
	"leaves":  "command: /bin/sleep 1000\nhooks: [{posthook: start alpha}]\n",
	"circle":  "command: /bin/sleep 1000\nhooks: [{prehook: start circle}]\n",
	"nofile":  "command: /nowhere/program\n",
	"missing": "command: /bin/sleep 1000\nhooks: [{prehook: start nobody}]\n",
}

// wireRow is a request and its whole answer; re makes it a regular expression.
type wireRow struct {
	request, answer string
	re              bool
}

// wireRows go from nothing alive to nothing alive.
var wireRows = []wireRow{
	{"check", "==Check Results Below==\n", false},
	{"start alpha", "start alpha success", false},
	{"start alpha", "Cannot start this child alpha, it already exsits", false},
	{"restart alpha", "restart alpha success", false},
	{"trystart alpha", "This child already start, stop it first. Stop alpha success, start it again. Start alpha success ", false},
	{"check alpha", "==Check Results Below==\nchild name: alpha\nprocessing id: [0-9]+\nconfig detail:\n.*  repeat is: false\n  hooks are:\n    none\n=======================\n", true},
	{"info", "==Server Info Below==\nServer config path:\n.*\n\\[alpha \\]\n.*Encrypt mode: \"off\"\n=======================\n", true},
	{"info other", "==Server Info Below==\n=======================\n", false},
	{"stop alpha", "stop alpha success", false},
	{"stop alpha", "alpha not exsit, cannot stop", false},
	{"restart alpha", "alpha not exsit, cannot stop", false},
	{"trystart alpha", "Start alpha success ", false},
	{"stop all", "stop all success", false},
	{"start ticks", "start ticks success, and it will restart in 600s", false},
	{"restart ticks", "restart ticks success, and it will restart in 600s", false},
	{"stop ticks", "stop ticks success", false},
	{"start hooked", "Find pre-hook, has started pre-hook firstly. start hooked success", false},
	{"start leaves", "start leaves success", false},
	{"trystart leaves", `This child already start, stop it first. find post-hook "start alpha", run it after stop. Stop leaves success, start it again. Start leaves success `, false},
	{"stop all", "stop all success", false},
	{"start nobody", "Cannot found 'nobody' file in load path", false},
	{"restart nobody", "Cannot found 'nobody' file in load path", false},
	{"trystart nobody", "Cannot found 'nobody' file in load path", false},
	{"start nofile", "Cannot start child nofile: .*no such file.*", true},
	{"start circle", "This child, circle, cannot pass recursive check", false},
	{"trystart circle", "This child, circle, cannot pass pre-check", false},
	{"start missing", "This child, missing, cannot pass recursive check", false},
	{"stop", "you have to give which child you want to stop", false},
	{"start all", `"all" is reserved keywords, cannot run child named "all"`, false},
	{"trystart on", `"on" is reserved keywords, cannot run child named "on"`, false},
	{"start stop", "child name cannot be command", false},
	{"begin alpha", "no legal operations input", false},
	{"start alpha on", "prep & obj arguments number should be even", false},
	{"start alpha at x", "does not support at", false},
	{"check", "==Check Results Below==\n", false},
}

func (r wireRow) matches(answer string) bool {
	if r.re {
		return regexp.MustCompile(`^(?s:` + r.answer + `)$`).MatchString(answer)
	}
	return answer == r.answer
}

// TestWireRowsInOddSegments sends every row in every way a packet may arrive,
// each way to a server of its own.
func TestWireRowsInOddSegments(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name      string
		cut       func(request string) []string
		halfClose bool
	}{
		{"in one segment", func(s string) []string { return []string{s} }, false},
		{"in one segment and a half-close", func(s string) []string { return []string{s} }, true},
		{"a byte a segment", bytewise, false},
		{"a byte a segment and a half-close", bytewise, true},
		{"in halves", func(s string) []string { return split(s, len(s)/2) }, false},
		{"all but the last byte first", func(s string) []string { return split(s, len(s)-1) }, false},
		{"with trailing NULs", func(s string) []string { return []string{s + strings.Repeat("\x00", 16)} }, false},
		{"with NULs in a segment of their own", func(s string) []string { return []string{s, "\x00\x00\x00"} }, false},
		{"with NULs a byte a segment and a half-close", func(s string) []string { return bytewise(s + "\x00\x00") }, true},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			in := newServer(t, "", wireChildren)
			for _, row := range wireRows {
				answer, err := in.exchange(way.cut(row.request), way.halfClose)
				if err != nil || !row.matches(answer) {
					t.Fatalf("%q\n got %q, %v\nwant %q", row.request, answer, err, row.answer)
				}
			}
			if answer, err := in.exchange(way.cut("kill"), way.halfClose); err != nil || answer != "I am dying. last error: \n" {
				t.Errorf("kill: %q, %v", answer, err)
			}
			in.killed = true
			if status, err := in.waitEnd(); status != 0 || err != nil {
				t.Errorf("the server ended with status %d, %v", status, err)
			}
		})
	}
}

// TestWireEncryptRowsInOddSegments: no segmentation makes a plain packet pass
// in encrypt mode.
func TestWireEncryptRowsInOddSegments(t *testing.T) {
	t.Parallel()
	const line = "Running on encrypt mode, need to dencrypt your command.\n"
	in := newServer(t, "encrypt: \"on\"\n", wireChildren)
	for request, want := range map[string]string{
		"start alpha": "Cannot parse encrypt data",
		"kill":        "Cannot parse encrypt data",
		";body":       "Keyname or command is empty",
		"ops;":        "Keyname or command is empty",
		"ops;body":    "Cannot found 'ops' file in keys path",
	} {
		for _, segments := range [][]string{{request}, bytewise(request), split(request, 1)} {
			for _, halfClose := range []bool{false, true} {
				if answer, err := in.exchange(segments, halfClose); err != nil || answer != line+want {
					t.Errorf("%q, half-close %v: %q, %v", segments, halfClose, answer, err)
				}
			}
		}
	}
	if v, err := in.client().Get(t.Context(), "alpha"); err != nil || v.Status.Starts != 0 {
		t.Errorf("alpha was started: %+v, %v", v.Status, err)
	}
}

// TestWireRequestSplitAtEveryPosition makes sure that the server has read the
// first segment before the second leaves.
func TestWireRequestSplitAtEveryPosition(t *testing.T) {
	t.Parallel()
	in := newServer(t, "", wireChildren)
	const request, want = "restart alpha", "restart alpha success"
	if _, err := in.exchange([]string{"start alpha"}, true); err != nil {
		t.Fatal(err)
	}
	for at := 1; at < len(request); at++ {
		var answers []string
		// A silence of a second ends half a request; a machine that is busy for
		// so long between two writes gets another try.
		for len(answers) < 3 {
			answer, err := in.exchangeApart(request[:at], request[at:])
			if err != nil {
				t.Fatalf("%q, %q: %v", request[:at], request[at:], err)
			}
			answers = append(answers, answer)
			if answer == want {
				break
			}
		}
		if last := answers[len(answers)-1]; last != want {
			t.Errorf("%q, %q: answers %q, want %q", request[:at], request[at:], answers, want)
		}
	}
}

// exchangeApart is exchange for two segments that the server reads one by one.
func (in *instance) exchangeApart(first, second string) (string, error) {
	conn, err := net.Dial("tcp", in.tcp())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(first)); err != nil {
		return "", err
	}
	if err := awaitRead(conn); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(second)); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// awaitRead waits until the other end of conn, on this host, has an empty
// receive queue: /proc/net/tcp shows it.
func awaitRead(conn net.Conn) error {
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	hex := func(ip [4]byte, port uint16) string {
		return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], port)
	}
	ends := hex(remote.Addr().Unmap().As4(), remote.Port()) + " " + hex(local.Addr().Unmap().As4(), local.Port())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return err
		}
		// sl: local remote st tx_queue:rx_queue ... (proc(5))
		if _, row, found := strings.Cut(string(table), ends); found {
			fields := strings.Fields(row)
			if len(fields) > 1 && strings.HasSuffix(fields[1], ":00000000") {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("the server does not read from %v", local)
		}
	}
}
