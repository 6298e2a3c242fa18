package why

import (
	"strings"

	"kita/spec"
)

// Who is who asked for something, in words. by is as spec.Event and spec.Desired
// have it; what is not known there is shown as it is. host names the host of the
// server, empty means the one on which this is read.
func Who(by, host string) string {
	where := "this host"
	if host != "" {
		where = host
	}
	via, peer, _ := strings.Cut(by, ":")
	switch {
	case by == "":
		return "somebody unknown"
	case via == "unix":
		return user(peer) + " on " + where
	case via == "tcp":
		return peer + " without a key"
	case via == "ssh":
		return key(peer)
	case via == "old":
		return key(peer) + " in the old protocol"
	case by == "repeat":
		return "its repeat action"
	case by == "recovered":
		return "the server, which found it running and had lost its state"
	}
	for _, kind := range []string{"prehook of ", "posthook of "} {
		if strings.HasPrefix(by, kind) {
			return "the " + by
		}
	}
	if child, ok := strings.CutPrefix(by, "exit_with "); ok {
		return "the end of " + child + ", which exit_with names"
	}
	return by
}

// user is the peer of a unix socket.
func user(uid string) string {
	switch uid {
	case "":
		return "somebody"
	case "0":
		return "root"
	}
	return "user " + uid
}

// key is the peer that proved to own a key; NAME@ADDRESS.
func key(peer string) string {
	name, address, found := cutLast(peer, "@")
	if !found {
		return "a key from " + peer
	}
	return "key " + name + " from " + address
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// asked is a command in the past tense, with who gave it.
func asked(verb spec.Verb, by, host string) string {
	done := map[spec.Verb]string{
		spec.VerbStart: "started", spec.VerbStop: "stopped", spec.VerbRestart: "restarted", spec.VerbTrystart: "started anew",
	}[verb]
	if done == "" {
		done = string(verb)
	}
	return done + " by " + Who(by, host)
}
