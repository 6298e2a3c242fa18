package spec

import "strings"

// Who is who asked for something, in words. by is as Event and Desired
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
		return userText(peer) + " on " + where
	case via == "tcp":
		return peer + " without a key"
	case via == "ssh":
		return keyText(peer)
	case via == "old":
		return keyText(peer) + " in the old protocol"
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

// userText is the peer of a unix socket.
func userText(uid string) string {
	switch uid {
	case "":
		return "somebody"
	case "0":
		return "root"
	}
	return "user " + uid
}

// keyText is the peer that proved to own a key; NAME@ADDRESS.
func keyText(peer string) string {
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
