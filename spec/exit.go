package spec

import (
	"encoding/json"
	"fmt"
	"time"
)

// Exit is how a process ended.
type Exit struct {
	Incarnation uint64 `json:"incarnation"`
	// Known is false where the status could not be learned; Code and Signal
	// say nothing then.
	Known bool `json:"known"`
	// Code is the exit code, 0 to 255, see HasCode.
	Code       int    `json:"code,omitempty"`
	Signal     Signal `json:"signal,omitempty"`
	CoreDumped bool   `json:"core_dumped,omitempty"`
	// OOMKilled: the kernel killed it, or another process of its run, because
	// memory ran out.
	OOMKilled bool      `json:"oom_killed,omitempty"`
	At        time.Time `json:"at"`
}

// HasCode tells whether Code says something: 0 is a success only then.
func (e Exit) HasCode() bool { return e.Known && e.Signal == 0 }

// MarshalJSON leaves code out where there is none, so that who reads only that does
// not take a child that was killed for one that has succeeded.
func (e Exit) MarshalJSON() ([]byte, error) {
	var code *int
	if e.HasCode() {
		code = &e.Code
	}
	return json.Marshal(struct {
		Incarnation uint64    `json:"incarnation"`
		Known       bool      `json:"known"`
		Code        *int      `json:"code,omitempty"`
		Signal      Signal    `json:"signal,omitempty"`
		CoreDumped  bool      `json:"core_dumped,omitempty"`
		OOMKilled   bool      `json:"oom_killed,omitempty"`
		At          time.Time `json:"at"`
	}{e.Incarnation, e.Known, code, e.Signal, e.CoreDumped, e.OOMKilled, e.At})
}

func (e Exit) String() string {
	text := fmt.Sprintf("exit %d", e.Code)
	switch {
	case !e.Known:
		text = "exit status unknown"
	case e.Signal != 0:
		text = fmt.Sprintf("killed by %v", e.Signal)
	}
	if e.OOMKilled {
		text += ", out of memory"
	}
	if e.Known && e.Signal != 0 && e.CoreDumped {
		text += ", core dumped"
	}
	return text
}

// Words is String with what an exit code means, where that is known.
func (e Exit) Words() string {
	text := e.String()
	if !e.Known || e.Signal != 0 {
		return text
	}
	if meaning := exitMeaning(e.Code); meaning != "" {
		return text + " (" + meaning + ")"
	}
	return text
}

// exitMeaning explains the exit codes with a meaning of their own: those of
// the shells (POSIX, 2.8.2 Exit Status for Commands) and of sysexits.h.
func exitMeaning(code int) string {
	switch {
	case code == 64:
		return "wrong use"
	case code == 78:
		return "bad configuration"
	case code == 126:
		return "not executable"
	case code == 127:
		return "command not found"
	case code > 128 && code <= 128+64:
		return "as if by " + Signal(code-128).String()
	}
	return ""
}
