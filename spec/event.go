package spec

import "time"

// EventType says what an Event is about.
type EventType string

const (
	// EventCommand: a desired state was written. Verb, By, Cause and Generation
	// say what, by whom and why; Cause tells a person's command from a hook, a
	// repeat action and a startup mode.
	EventCommand EventType = "command"
	// EventRefused: a command was refused, Code and Message say why.
	EventRefused EventType = "refused"
	// EventStarted: a process was launched. PID, Incarnation; Cause is that of
	// the command or CausePolicy. Hash is that of its configuration.
	EventStarted EventType = "started"
	// EventCannotStart: a launch or its prehook failed, Message says why. It
	// counts as an attempt: Attempt.
	EventCannotStart EventType = "cannot-start"
	// EventAdopted: a new server took over a process that lived. PID, Incarnation.
	EventAdopted EventType = "adopted"
	// EventStopping: the process group was asked to end with Signal. Next is when
	// SIGKILL is due.
	EventStopping EventType = "stopping"
	// EventKilled: SIGKILL was sent, to what outlived its grace period: PIDs.
	EventKilled EventType = "killed"
	// EventExited: the leader ended. Exit, Ran, Success, and Asked if it had been
	// told to; LastLines where it failed.
	EventExited EventType = "exited"
	// EventOutput: LastLines of a run that failed, where they were known only after
	// its EventExited: Incarnation.
	EventOutput EventType = "output"
	// EventBackOff: the next start is at Next; Attempt counts the failures in a row.
	EventBackOff EventType = "backoff"
	// EventGaveUp: it is not started again: Message says why (the start limit).
	EventGaveUp EventType = "gave-up"
	// EventHook: a hook ended. Hook is its kind and command, Message why it failed
	// or empty.
	EventHook EventType = "hook"
	// EventConfig: the child's file is new, changed, broken, good again or gone.
	// Config says which; Message has the errors of a broken one, one a line. Down:
	// that happened while no server lived, and was noticed when the next one began.
	EventConfig EventType = "config"
	// EventForgotten: its file is gone and nothing of it is alive. It is the last
	// event of a child, until a file of that name comes again.
	EventForgotten EventType = "forgotten"

	// What follows is about the server, and has no Child.

	// EventServer: Server says what happened to the server, Message the same in
	// words: "upgraded from 1.2", "ends, the children go on". PID is the server's.
	EventServer EventType = "server"
	// EventLost: Lost events before this one could not be written, Message says why.
	EventLost EventType = "lost"

	// EventCaughtUp is in an answer only, once: all that there was has been sent.
	// Seq is that of the latest event there is, of whatever child.
	EventCaughtUp EventType = "caught-up"
)

// ServerChange says what became of the server.
type ServerChange string

const (
	// ServerStarted: no server had lived since the boot, or the one before had
	// stopped all children.
	ServerStarted ServerChange = "started"
	// ServerTookOver: the one before had ended, or had been told to, and its
	// children went on.
	ServerTookOver ServerChange = "took-over"
	// ServerRecovered: the one before it was killed, or crashed.
	ServerRecovered ServerChange = "recovered"
	// ServerUpgraded: this version took the place of another.
	ServerUpgraded ServerChange = "upgraded"
	// ServerEnds: By says who asked, where somebody did.
	ServerEnds ServerChange = "ends"
)

// EventTypes lists every type, in the order in which they are explained.
func EventTypes() []EventType {
	return []EventType{
		EventCommand, EventRefused, EventStarted, EventCannotStart, EventAdopted, EventStopping, EventKilled, EventExited, EventOutput,
		EventBackOff, EventGaveUp, EventHook, EventConfig, EventForgotten, EventServer, EventLost,
	}
}

// ConfigChange says what became of a child's file.
type ConfigChange string

const (
	ConfigNew     ConfigChange = "new"
	ConfigChanged ConfigChange = "changed"
	ConfigBroken  ConfigChange = "broken"
	ConfigMended  ConfigChange = "mended"
	ConfigGone    ConfigChange = "gone"
)

// Event is one thing that happened to a child, or to the server. What a type does
// not name is zero.
type Event struct {
	// Seq numbers the events of a state directory, from 1, in the order in which
	// they were noticed; it goes on over restarts and reboots, with gaps.
	Seq   uint64    `json:"seq"`
	At    time.Time `json:"time,omitzero"`
	Child string    `json:"child,omitempty"`
	Type  EventType `json:"type"`

	Incarnation uint64 `json:"incarnation,omitempty"`
	// Generation is the desired generation that was written, or that asked for it.
	Generation uint64 `json:"generation,omitempty"`
	PID        int    `json:"pid,omitempty"`
	// Verb, By and Cause are as in Command and Desired.
	Verb  Verb   `json:"verb,omitempty"`
	By    string `json:"by,omitempty"`
	Cause Cause  `json:"cause,omitempty"`
	// Signal is what was sent, PIDs whom SIGKILL met.
	Signal Signal `json:"signal,omitempty"`
	PIDs   []int  `json:"pids,omitempty"`
	Exit   *Exit  `json:"exit,omitempty"`
	// Ran is how long the process had lived.
	Ran     Duration `json:"ran,omitempty"`
	Success bool     `json:"success,omitempty"`
	Asked   bool     `json:"asked,omitempty"`
	// Attempt is how many attempts in a row have failed.
	Attempt int `json:"attempt,omitempty"`
	// Next is when what follows by itself is due: a start, or SIGKILL.
	Next *time.Time `json:"next,omitempty"`
	// Hook is "prehook start db" or "posthook start cleanup".
	Hook   string       `json:"hook,omitempty"`
	Config ConfigChange `json:"config,omitempty"`
	Down   bool         `json:"down,omitempty"`
	Server ServerChange `json:"server,omitempty"`
	Hash   string       `json:"hash,omitempty"`
	Code   Code         `json:"code,omitempty"`
	// Message is for people.
	Message   string   `json:"message,omitempty"`
	LastLines []string `json:"last_lines,omitempty"`
	Lost      uint64   `json:"lost,omitempty"`
}

// EventRequest asks for events, oldest first.
type EventRequest struct {
	// Children are names, or All alone; All has the server's events too.
	Children []string `json:"children"`
	// Types leaves out what is of no type among them; none means any. Tail counts
	// what is left.
	Types []EventType `json:"types,omitempty"`
	// Follow goes on with what happens from now on, until the reader leaves.
	Follow bool `json:"follow,omitempty"`
	// Tail is how many of the latest to begin with; nil means all that are kept.
	Tail *int `json:"tail,omitempty"`
	// Since leaves out what happened before; zero means nothing is left out. Age is
	// the same in terms of the server's clock; at most one is set.
	Since time.Time `json:"since,omitzero"`
	Age   Duration  `json:"age,omitempty"`
	// After is the Seq of the last event that arrived; reading goes on behind it,
	// and Tail, Since and Age say nothing.
	After uint64 `json:"after,omitempty"`
}
