package control

import (
	"encoding/json"
	"strconv"
	"time"

	"kita/spec"
)

// A summary of a child is its view without what takes most of the room: the
// configurations, the history, the last lines and who asked for it. A table of
// ten thousand children is made of summaries, so they are written and read without
// reflection. What they are made of is a View for everybody else.

// summaryView is the value of the query parameter view that asks for summaries.
const summaryView = "summary"

// appendSummaries appends the answer of the children with their summaries.
func appendSummaries(b []byte, views []spec.View) []byte {
	b = append(b, `{"children":[`...)
	for i := range views {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSummary(b, &views[i])
	}
	return append(b, "]}"...)
}

func appendSummary(b []byte, v *spec.View) []byte {
	b = appendText(append(b, `{"name":`...), v.Name)
	b = appendText(append(b, `,"desired":{"run":`...), string(v.Desired.Run))
	b = strconv.AppendUint(append(b, `,"generation":`...), v.Desired.Generation, 10)
	b = strconv.AppendUint(append(b, `,"restart_generation":`...), v.Desired.RestartGeneration, 10)
	b = appendStatus(append(b, `},"status":`...), &v.Status)
	if v.FileError != "" {
		b = appendText(append(b, `,"file_error":`...), v.FileError)
	}
	if v.Stale {
		b = append(b, `,"stale":true`...)
	}
	return append(b, '}')
}

func appendStatus(b []byte, s *spec.Status) []byte {
	b = appendText(append(b, `{"phase":`...), string(s.Phase))
	b = appendTime(append(b, `,"since":`...), s.Since)
	b = strconv.AppendUint(append(b, `,"observed_generation":`...), s.ObservedGeneration, 10)
	if p := s.Process; p != nil {
		b = strconv.AppendInt(append(b, `,"process":{"pid":`...), int64(p.PID), 10)
		b = strconv.AppendUint(append(b, `,"incarnation":`...), p.Incarnation, 10)
		b = appendTime(append(b, `,"started_at":`...), p.StartedAt)
		if p.Adopted {
			b = append(b, `,"adopted":true`...)
		}
		b = append(b, '}')
	}
	b = strconv.AppendUint(append(b, `,"starts":`...), s.Starts, 10)
	b = strconv.AppendUint(append(b, `,"restarts":`...), s.Restarts, 10)
	if s.LastExit != nil {
		b = appendExit(append(b, `,"last_exit":`...), s.LastExit)
	}
	if s.Reason != "" {
		b = appendText(append(b, `,"reason":`...), s.Reason)
	}
	if s.NextStart != nil {
		b = appendTime(append(b, `,"next_start":`...), *s.NextStart)
	}
	if s.RepeatAt != nil {
		b = appendTime(append(b, `,"repeat_at":`...), *s.RepeatAt)
	}
	if f := s.Failure; f != nil {
		b = strconv.AppendUint(append(b, `,"failure":{"generation":`...), f.Generation, 10)
		b = appendText(append(b, `,"code":`...), string(f.Code))
		b = append(appendText(append(b, `,"message":`...), f.Message), '}')
	}
	for i, warning := range s.Warnings {
		before := `,"warnings":[`
		if i > 0 {
			before = ","
		}
		b = appendText(append(b, before...), warning)
	}
	if len(s.Warnings) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendExit(b []byte, e *spec.Exit) []byte {
	b = strconv.AppendUint(append(b, `{"incarnation":`...), e.Incarnation, 10)
	b = strconv.AppendBool(append(b, `,"known":`...), e.Known)
	if e.HasCode() {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(e.Code), 10)
	}
	if e.Signal != 0 {
		b = appendText(append(b, `,"signal":`...), e.Signal.String())
	}
	if e.CoreDumped {
		b = append(b, `,"core_dumped":true`...)
	}
	if e.OOMKilled {
		b = append(b, `,"oom_killed":true`...)
	}
	return append(appendTime(append(b, `,"at":`...), e.At), '}')
}

// appendText is s as encoding/json has it.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // of a string it cannot fail
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendTime is t as encoding/json has it, years beyond 9999 left aside.
func appendTime(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
