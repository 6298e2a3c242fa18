package sshhost

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// lookScript says what of kita is on a host, in lines of their own form,
// because the start-up files of a shell may print as well. It becomes one line
// between single quotes, which any login shell passes on as it is, so it has
// neither a single quote nor an end of a line that means something. The sockets
// are those of `kita serve` for the user (store.DefaultDirs); one in /tmp, where
// anybody could put it, has to be the user's own. A link of the old name to
// kita is kita.
const lookScript = `
u=$(id -u);
for s in "${KITA_SOCKET:-}" "${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/kita/kita.sock}" "/run/user/$u/kita/kita.sock"; do
  if [ -n "$s" ] && [ -S "$s" ]; then echo "kita-look socket $s"; fi;
done;
s=/tmp/kita-$u/kita.sock;
if [ -S "$s" ] && [ -O "$s" ] && [ -O "/tmp/kita-$u" ]; then echo "kita-look socket $s"; fi;
for k in kita /usr/local/bin/kita /usr/bin/kita; do
  p=$(command -v "$k" 2>/dev/null) && [ -x "$p" ] && { echo "kita-look kita $p"; break; };
done;
for k in supervisor-rs-client /usr/local/bin/supervisor-rs-client /usr/bin/supervisor-rs-client; do
  p=$(command -v "$k" 2>/dev/null) && [ -x "$p" ] || continue;
  r=$(readlink -f "$p");
  case $r in */kita) echo "kita-look kita $r";; *) echo "kita-look old $p";; esac;
  break;
done;
echo kita-look end`

// findings are what look found.
type findings struct {
	sockets []string
	// kita and old are programs; empty where they are not there.
	kita, old string
	// err: commands cannot be run there, so nothing is known.
	err error
}

// maxSockets bounds what a host can have us try.
const maxSockets = 4

// look runs lookScript.
func (h *Host) look(ctx context.Context) findings {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	out, err := h.run(ctx, "sh -c "+quote(strings.ReplaceAll(lookScript, "\n", " ")))
	if err != nil {
		return findings{err: reason(err)}
	}
	return parseLook(out)
}

func parseLook(out output) findings {
	var f findings
	ended := false
	for line := range strings.Lines(string(out.out)) {
		words, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "kita-look ")
		if !ok {
			continue
		}
		what, path, _ := strings.Cut(words, " ")
		switch isPath := strings.HasPrefix(path, "/"); {
		case what == "end":
			ended = true
		case what == "socket" && isPath && len(f.sockets) < maxSockets:
			f.sockets = append(f.sockets, path)
		case what == "kita" && isPath && f.kita == "":
			f.kita = path
		case what == "old" && isPath:
			f.old = path
		}
	}
	if !ended {
		f.err = fmt.Errorf("commands cannot be run there%s", lastLine(out.err))
		if out.exit > 0 && len(out.err) == 0 {
			f.err = fmt.Errorf("commands cannot be run there, exit status %d", out.exit)
		}
	}
	return f
}

// lastLine is the last line of a program's complaints, after a colon.
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + last
	}
	return ""
}

// checkedWay is a way with what has to hold before it is taken.
type checkedWay struct {
	way   way
	check func(net.Conn) error
}

// ways are those that the findings leave, the best first. forbidden: sshd
// forwards to no unix socket.
func (f findings) ways(forbidden bool) []checkedWay {
	var ways []checkedWay
	for _, path := range f.sockets {
		if !forbidden && path != rootSocket {
			ways = append(ways, checkedWay{way: unixWay{path}})
		}
	}
	// Where supervisor-rs is installed the port may be its own, and a request
	// that it does not know leaves it answering errors for good.
	if f.old == "" {
		ways = append(ways, checkedWay{way: tcpWay{}, check: answersAsKita})
	}
	if f.kita == "" {
		return ways
	}
	// A shell that is no log-in often lacks XDG_RUNTIME_DIR, so kita would look
	// in the wrong place.
	for _, path := range f.sockets {
		ways = append(ways, checkedWay{way: proxyWay{f.kita, path}})
	}
	if len(f.sockets) == 0 {
		ways = append(ways, checkedWay{way: proxyWay{kita: f.kita}})
	}
	return ways
}

// RunOld runs supervisor-rs-client there, with the words of a command, and
// returns the answer of the server of that host alone.
func (h *Host) RunOld(ctx context.Context, old *OnlyOldError, words ...string) (string, error) {
	line := quote(old.Client)
	for _, word := range words {
		line += " " + quote(word)
	}
	out, err := h.run(ctx, line)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", err
	case len(out.out) == 0:
		return "", fmt.Errorf("%s there says nothing%s", old.Client, lastLine(out.err))
	}
	answer := string(out.out)
	if head, rest, found := strings.Cut(answer, "\n"); found && strings.HasPrefix(head, "Server ") && strings.HasSuffix(head, " response:") {
		answer = rest
	}
	return strings.TrimSuffix(answer, "\n"), nil
}
