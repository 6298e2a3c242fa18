package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// envTake has this binary print what it takes, as a process that a manager
// started: descriptor 3 is free there.
const envTake = "TEST_TAKE"

func TestMain(m *testing.M) {
	if os.Getenv(envTake) == "" {
		os.Exit(m.Run())
	}
	// A manager knows the PID of what it starts; this one has learnt it now.
	manager, rest, err := Take(append(os.Environ(), "LISTEN_PID="+strconv.Itoa(os.Getpid())))
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	for _, entry := range rest {
		if strings.HasPrefix(entry, "LISTEN") {
			fmt.Print("left: ", entry)
		}
	}
	for _, s := range manager.Sockets() {
		flags, _ := unix.FcntlInt(uintptr(s.FD), unix.F_GETFD, 0)
		fmt.Printf("%s=%d cloexec=%d;", s.Use, s.FD, flags&unix.FD_CLOEXEC)
	}
}

// socketOf makes one of a kind.
func socketOf(t *testing.T, kind string) *os.File {
	t.Helper()
	domain, typ, backlog := unix.AF_INET, unix.SOCK_STREAM, 1
	var at unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	switch kind {
	case "tcp6":
		domain, at = unix.AF_INET6, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	case "unix":
		domain, at = unix.AF_UNIX, &unix.SockaddrUnix{Name: "@kita-" + filepath.Base(t.TempDir()) + strconv.Itoa(os.Getpid()) + t.Name()}
	case "unixgram":
		domain, typ, backlog = unix.AF_UNIX, unix.SOCK_DGRAM, 0
		at = &unix.SockaddrUnix{Name: "@kitag-" + strconv.Itoa(os.Getpid()) + t.Name()}
	case "udp":
		typ, backlog = unix.SOCK_DGRAM, 0
	case "deaf":
		backlog = 0
	case "file":
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, at)
	}
	if err == nil && backlog > 0 {
		err = unix.Listen(fd, backlog)
	}
	if err == unix.EADDRNOTAVAIL || err == unix.EAFNOSUPPORT {
		t.Skip("no IPv6 here")
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), kind)
}

func TestSocketsAreJudged(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, kinds, names string
		count              string
		want               string
	}{
		{"one of each", "unix tcp tcp", "kita.socket:kita.socket:metrics", "", "unix=3 cloexec=1;listen=4 cloexec=1;metrics_addr=5 cloexec=1;"},
		{"in another order", "tcp unix", "", "", "listen=3 cloexec=1;unix=4 cloexec=1;"},
		{"by name", "tcp unix", "listen:unix", "", "listen=3 cloexec=1;unix=4 cloexec=1;"},
		{"IPv6", "tcp6", "unknown", "", "listen=3 cloexec=1;"},
		{"metrics alone", "tcp", "metrics", "", "metrics_addr=3 cloexec=1;"},
		{"none", "", "", "0", ""},
		{"a name nobody knows", "tcp", "web", "", `socket activation: descriptor 3, "web": the name is unknown, give FileDescriptorName= unix, listen or metrics, or none`},
		{"two of a kind", "tcp tcp", "a.socket:b.socket", "", `socket activation: descriptor 4, "b.socket": it is the second for listen, hand over one`},
		{"metrics on a path", "unix", "metrics", "", `socket activation: descriptor 3, "metrics": it is a unix socket, listen and metrics take an address of TCP`},
		{"unix on an address", "tcp", "unix", "", `socket activation: descriptor 3, "unix": it is a TCP socket, unix takes a path`},
		{"UDP", "udp", "", "", `socket activation: descriptor 3, "": it is no stream socket, write ListenStream=`},
		{"datagrams", "unixgram", "", "", `socket activation: descriptor 3, "": it is no stream socket, write ListenStream=`},
		{"a connection", "deaf", "connection", "", `socket activation: descriptor 3, "connection": it does not listen, write Accept=no`},
		{"a file", "file", "", "", `socket activation: descriptor 3, "": it is no socket`},
		{"fewer than said", "tcp", "", "2", `socket activation: descriptor 4, "": it is no socket`},
		{"no number", "", "", "many", "LISTEN_FDS=many is no number of sockets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(exe)
			for _, kind := range strings.Fields(tt.kinds) {
				f := socketOf(t, kind)
				defer f.Close()
				cmd.ExtraFiles = append(cmd.ExtraFiles, f)
			}
			count := tt.count
			if count == "" {
				count = strconv.Itoa(len(cmd.ExtraFiles))
			}
			cmd.Env = []string{envTake + "=1", "LISTEN_FDS=" + count, "LISTEN_FDNAMES=" + tt.names}
			out, err := cmd.Output()
			accepted := tt.want == "" || strings.Contains(tt.want, "cloexec=1")
			if got := string(out); got != tt.want || (err == nil) != accepted {
				t.Errorf("got  %q, %v\nwant %q", got, err, tt.want)
			}
		})
	}
}

func TestSocketsOfAnotherProcessAreLeftAlone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, pid := range []string{"LISTEN_PID=1", "LISTEN_PID="} {
		if m, _, err := Take([]string{"LISTEN_FDS=1", pid}); m != nil || err != nil {
			t.Errorf("%s: %v, %v", pid, m, err)
		}
	}
	if got := (*Manager)(nil).Sockets(); !reflect.DeepEqual(got, []Socket(nil)) {
		t.Errorf("%v", got)
	}
}
