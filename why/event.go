package why

import (
	"fmt"
	"strings"
	"time"

	"kita/spec"
)

// Event says in a line what happened. host is as for Who; times in the line are
// as Clock has them.
func Event(e spec.Event, host string, now time.Time) string {
	switch e.Type {
	case spec.EventCommand:
		return fmt.Sprintf("%s by %s", e.Verb, spec.Who(e.By, host))
	case spec.EventRefused:
		return fmt.Sprintf("%s by %s was refused: %s", e.Verb, spec.Who(e.By, host), spec.FirstLine(e.Message))
	case spec.EventStarted:
		return startedText(e)
	case spec.EventCannotStart:
		return "cannot start: " + spec.FirstLine(e.Message) + attempt(e.Attempt)
	case spec.EventAdopted:
		return fmt.Sprintf("PID %d was taken over by a new server", e.PID)
	case spec.EventStopping:
		return because("asked to end with "+e.Signal.String(), e.Message)
	case spec.EventKilled:
		return killedText(e.PIDs)
	case spec.EventExited:
		return exitedText(e)
	case spec.EventOutput:
		return "it wrote last: " + lastLine(e.LastLines)
	case spec.EventBackOff:
		return backOffText(e, now)
	case spec.EventGaveUp:
		return "given up: " + spec.FirstLine(e.Message)
	case spec.EventHook:
		return hookText(e)
	case spec.EventConfig:
		return configText(e)
	case spec.EventForgotten:
		return "forgotten: its file is gone, and nothing of it is alive"
	case spec.EventServer:
		if e.By != "" {
			return fmt.Sprintf("the server %s, by %s", spec.FirstLine(e.Message), spec.Who(e.By, host))
		}
		return "the server " + spec.FirstLine(e.Message)
	case spec.EventLost:
		return lostText(e)
	}
	// A newer server may know more.
	return strings.TrimSuffix(fmt.Sprintf("%s: %s", e.Type, spec.FirstLine(e.Message)), ": ")
}

// because is what happened with why, where that is told.
func because(text, why string) string {
	if why == "" {
		return text
	}
	return text + ": " + spec.FirstLine(why)
}

// hookText has the hook once: the message of one that failed begins with it.
func hookText(e spec.Event) string {
	if e.Message == "" {
		return e.Hook + " is done"
	}
	kind, command, _ := strings.Cut(e.Hook, " ")
	return e.Hook + " failed: " + spec.FirstLine(strings.TrimPrefix(e.Message, kind+` "`+command+`": `))
}

// lastLine is the last of what was written that says something.
func lastLine(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" {
			return line
		}
	}
	return "nothing"
}

func startedText(e spec.Event) string {
	text := fmt.Sprintf("started, PID %d", e.PID)
	if e.Cause == spec.CausePolicy {
		text = fmt.Sprintf("started again by its restart policy, PID %d", e.PID)
	}
	return text
}

// attempt counts failures in a row; the first is none to speak of.
func attempt(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (attempt %d)", n)
}

func killedText(pids []int) string {
	if len(pids) == 0 {
		return "killed with SIGKILL after its grace period"
	}
	return "SIGKILL to " + pidList(pids) + ", still alive after the grace period"
}

// mostPIDs is how many of them are named.
const mostPIDs = 8

func pidList(pids []int) string {
	words := make([]string, 0, mostPIDs)
	for _, pid := range pids[:min(len(pids), mostPIDs)] {
		words = append(words, fmt.Sprint(pid))
	}
	text := "PID " + strings.Join(words, ", ")
	if len(pids) > 1 {
		text = "PIDs " + strings.Join(words, ", ")
	}
	if more := len(pids) - mostPIDs; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// exitedText is "exit 1 after 0.2s", and whether somebody had wanted it.
func exitedText(e spec.Event) string {
	text := "ended"
	if e.Exit != nil {
		text = e.Exit.Words()
	}
	if e.Ran > 0 {
		text += " after " + length(e.Ran.D())
	}
	switch {
	case e.Asked:
		text += ", as it was told to"
	case e.Success:
		text += ", a success"
	}
	return text
}

func backOffText(e spec.Event, now time.Time) string {
	text := "back-off"
	if e.Attempt > 0 {
		text += fmt.Sprintf(", attempt %d", e.Attempt)
	}
	if e.Next != nil {
		text += ", next start at " + Clock(*e.Next, e.At.In(now.Location()))
	}
	return text
}

func configText(e spec.Event) string {
	if e.Down {
		return downText(e)
	}
	switch e.Config {
	case spec.ConfigNew:
		return "its file is new"
	case spec.ConfigChanged:
		return "its file has changed"
	case spec.ConfigBroken:
		return "its file is broken: " + spec.FirstLine(e.Message)
	case spec.ConfigMended:
		return "its file is good again"
	case spec.ConfigGone:
		return "its file is gone"
	}
	return "its file: " + string(e.Config)
}

// downText is for what the server found at its start.
func downText(e spec.Event) string {
	const down = " while the server was down"
	switch e.Config {
	case spec.ConfigNew:
		return "its file came" + down
	case spec.ConfigChanged:
		return "its file was changed" + down
	case spec.ConfigBroken:
		return "its file was broken" + down + ": " + spec.FirstLine(e.Message)
	case spec.ConfigMended:
		return "its file was mended" + down
	case spec.ConfigGone:
		return "its file was removed" + down
	}
	return "its file" + down + ": " + string(e.Config)
}

func lostText(e spec.Event) string {
	text := fmt.Sprintf("%d events before this could not be written", e.Lost)
	if e.Lost == 1 {
		text = "1 event before this could not be written"
	}
	if e.Message != "" {
		text += ": " + spec.FirstLine(e.Message)
	}
	return text
}
