package keeper

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The environment by which a server knows its keeper. Attach takes it out of
// the server's own, so that no child has it.
const (
	envLink = "KITA_KEEPER"
	// envInit is 1 where the keeper is PID 1.
	envInit = "KITA_KEEPER_INIT"
	// envStrangers is 1 where other orphans come to the keeper than those of
	// its servers.
	envStrangers = "KITA_KEEPER_STRANGERS"
	// envRunDir, envStateDir and envID are the directories and the id of the
	// server before this one.
	envRunDir   = "KITA_KEEPER_RUN"
	envStateDir = "KITA_KEEPER_STATE_DIR"
	envID       = "KITA_KEEPER_ID"
	// envHeld are the listeners from heldFD on, as JSON. It is there where the
	// keeper holds listeners at all.
	envHeld = "KITA_KEEPER_HELD"
	// envTells is 1 where a service manager hears what the keeper says;
	// envWatchdog is how long, in microseconds, it goes without a sign of life.
	envTells    = "KITA_KEEPER_TELLS"
	envWatchdog = "KITA_KEEPER_WATCHDOG"
)

// linkFD is the server's end of the link, heldFD the first listener.
const (
	linkFD = 3
	heldFD = 4
)

// maxMessage is larger than any path, PATH_MAX of linux/limits.h.
const maxMessage = 8192

// patience is how long a keeper may take until it reads a message. A keeper
// that was stopped must not stop its server.
const patience = time.Second

// Dirs are the directories of a server, absolute; empty where they are unknown.
type Dirs struct{ State, Run string }

// greeting is what a keeper tells a server before it says anything.
type greeting struct {
	init, strangers bool
	before          Dirs
	id              string
	// holds: the keeper takes listeners.
	holds bool
	// tells: a service manager hears Status. watchdog is its patience, 0 for any.
	tells    bool
	watchdog time.Duration
}

// Link is the server's end of the link to its keeper. The nil Link is that of
// a server without one: its methods do nothing. It may be used concurrently.
type Link struct {
	file *os.File
	pid  int
	gone chan struct{}
	// asked holds a token when the keeper wants the listeners.
	asked chan struct{}
	held  []Held
	// follows: the keeper had a server before this one.
	follows bool

	// greeting is written by Run only, which comes before all that reads it.
	greeting

	mu sync.Mutex // one message at a time
}

// Attach returns the link to the keeper that started this process, nil if none
// did. It is called once, before anything reads the environment for a child.
func Attach() *Link {
	link := os.Getenv(envLink)
	g := greeting{
		init: os.Getenv(envInit) == "1", strangers: os.Getenv(envStrangers) == "1",
		before: Dirs{State: os.Getenv(envStateDir), Run: os.Getenv(envRunDir)}, id: os.Getenv(envID),
		tells: os.Getenv(envTells) == "1",
	}
	micros, _ := strconv.ParseUint(os.Getenv(envWatchdog), 10, 53)
	g.watchdog = time.Duration(micros) * time.Microsecond
	list, holds := os.LookupEnv(envHeld)
	g.holds = holds
	for _, name := range []string{envLink, envInit, envStrangers, envRunDir, envStateDir, envID, envHeld, envTells, envWatchdog} {
		_ = os.Unsetenv(name)
	}
	// Where the descriptor is no link the variable is somebody else's.
	if link != strconv.Itoa(linkFD) || !isLink(linkFD) {
		return nil
	}
	unix.CloseOnExec(linkFD)
	l := &Link{file: os.NewFile(linkFD, "keeper"), gone: make(chan struct{}), asked: make(chan struct{}, 1), held: takeHeld(list), pid: keeperPID(), follows: g.id != "", greeting: g}
	// It ends with the keeper, or with the process.
	go l.listen()
	return l
}

// keeperPID is who made the link. The parent is another process once the keeper
// has died.
func keeperPID() int {
	cred, err := unix.GetsockoptUcred(linkFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.Getppid()
	}
	return int(cred.Pid)
}

// isLink tells whether fd is what makeLink makes, and ready for os.NewFile.
func isLink(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_SEQPACKET && unix.SetNonblock(fd, true) == nil
}

// listen waits for the end of the keeper, which says but one thing.
func (l *Link) listen() {
	buffer := make([]byte, 64)
	for {
		if n, err := l.file.Read(buffer); n <= 0 || err != nil {
			close(l.gone)
			return
		}
		select {
		case l.asked <- struct{}{}:
		default:
		}
	}
}

// Run tells the keeper the server's id and directories. From then on signals are
// passed on, so the server must handle them.
func (l *Link) Run(id string, d Dirs) {
	if l == nil {
		return
	}
	// A new version in this one's place follows it.
	l.before, l.id = d, id
	// Whoever has a run directory before it has a state directory too.
	l.say(wordState + " " + d.State)
	l.say(wordRun + " " + id + " " + d.Run)
}

// Ready tells the keeper that the server serves.
func (l *Link) Ready() { l.say(wordReady) }

// Upgrade tells the keeper that the server is about to execute path in its own
// place. From then on the keeper is on watch.
func (l *Link) Upgrade(path string) { l.say(wordUpgrade + " " + path) }

// NoUpgrade takes Upgrade back: path could not be executed.
func (l *Link) NoUpgrade() { l.say(wordUpgrade) }

// Exit tells the keeper that the server ends and is not to be started again.
// The keeper then ends with code, after the server did.
func (l *Link) Exit(code int) { l.say(wordExit + " " + strconv.Itoa(code)) }

// say sends one message. An error means that the keeper is gone, or will be:
// Gone tells.
func (l *Link) say(message string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.SetWriteDeadline(time.Now().Add(patience))
	_, _ = l.file.WriteString(message)
}

// Gone is closed when there is no keeper any more. It is nil, so never ready,
// for a server without one.
func (l *Link) Gone() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.gone
}

// Alive tells whether there is a keeper.
func (l *Link) Alive() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.gone:
		return false
	default:
		return true
	}
}

// PID is the keeper's process id; 0 without a keeper.
func (l *Link) PID() int {
	if l == nil {
		return 0
	}
	return l.pid
}

// Init tells whether the keeper is PID 1, so that no child can outlive it.
func (l *Link) Init() bool { return l != nil && l.init }

// Strangers tells whether other orphans come to the keeper than those of its
// servers: it is PID 1, or had children before it started one.
func (l *Link) Strangers() bool { return l != nil && (l.init || l.strangers) }

// Follows tells whether the keeper had a server before this one, so that what that
// left came to it.
func (l *Link) Follows() bool { return l != nil && l.follows }

// ID is the id of the server whose place this one takes; empty for the first
// server of a keeper. Its children bear it.
func (l *Link) ID() string {
	if l == nil {
		return ""
	}
	return l.id
}

// Before are the directories of the server whose place this one takes, empty for
// the first server of a keeper. They are where its children are known.
func (l *Link) Before() Dirs {
	if l == nil {
		return Dirs{}
	}
	return l.before
}

// Inherit prepares the link for a program that is executed in the server's
// place: its descriptor stays open, and env is what the program's environment
// needs for Attach. release undoes that, for a program that could not be
// executed; no child may be started in between.
func (l *Link) Inherit() (env []string, release func(), err error) {
	if l == nil {
		return nil, func() {}, nil
	}
	if _, err := unix.FcntlInt(linkFD, unix.F_SETFD, 0); err != nil {
		return nil, nil, fmt.Errorf("keep the link to the keeper: %w", err)
	}
	return linkEnviron(nil, l.greeting), func() { unix.CloseOnExec(linkFD) }, nil
}

// linkEnviron returns env with what Attach reads in place of what it has.
func linkEnviron(env []string, g greeting) []string {
	out := append(clean(env), envLink+"="+strconv.Itoa(linkFD))
	if g.init {
		out = append(out, envInit+"=1")
	}
	if g.strangers {
		out = append(out, envStrangers+"=1")
	}
	if g.holds {
		out = append(out, envHeld+"=")
	}
	if g.tells {
		out = append(out, envTells+"=1")
	}
	if g.watchdog > 0 {
		out = append(out, envWatchdog+"="+strconv.FormatInt(g.watchdog.Microseconds(), 10))
	}
	for name, value := range map[string]string{envRunDir: g.before.Run, envStateDir: g.before.State, envID: g.id} {
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}
