package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
)

// sshForm is what errors tell the user to write.
const sshForm = "write ssh://user@host:port, where the user and the port may be left out"

// parseSSH reads what follows ssh://. Names keep their case, because they may
// be aliases of ~/.ssh/config, which has its own mind about it.
func parseSSH(text string) (Host, error) {
	login, place := "", text
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		login, place = text[:i], text[i+1:]
		if login == "" {
			return Host{}, errors.New("the user before the @ is empty: " + sshForm)
		}
	}
	if i := strings.IndexAny(place, "/?#"); i >= 0 {
		return Host{}, fmt.Errorf("%q stands after the host: %s", place[i:], sshForm)
	}
	user, err := parseUser(login)
	if err != nil {
		return Host{}, err
	}
	if addr, err := netip.ParseAddr(place); err == nil && addr.Is6() {
		return Host{}, fmt.Errorf("an IPv6 address needs brackets here, as in ssh://[%s]", place)
	}
	if strings.HasPrefix(place, "[") {
		// As RFC 6874 writes the zone of an address in a URL.
		place = strings.Replace(place, "%25", "%", 1)
	}
	name, port, err := splitPort(place, 0)
	if err != nil {
		return Host{}, err
	}
	host := Host{SSH: true, User: user, Name: name, Port: port}
	if addr, err := netip.ParseAddr(name); err == nil {
		host.Name = addr.String()
		return host, checkZone(addr)
	}
	return host, checkName(name)
}

// parseUser resolves the %XX of a login name. The name goes into a line that a
// far shell or a log may see, so it has to be a plain one.
func parseUser(login string) (string, error) {
	if strings.Contains(login, ":") {
		return "", errors.New("a password cannot be given here, keys are used: " + sshForm)
	}
	user, err := url.PathUnescape(login)
	if err != nil {
		return "", fmt.Errorf("user %q: %w", login, err)
	}
	if strings.HasPrefix(user, "-") || strings.ContainsFunc(user, func(r rune) bool {
		return r == unicode.ReplacementChar || !unicode.IsPrint(r) || isSeparator(r) || strings.ContainsRune(`/?#:'"`, r)
	}) {
		return "", fmt.Errorf("%q is no name of a user", user)
	}
	return user, nil
}

// withoutPassword is what an error shows of a host: a password before the @ is
// not taken, and is not to stand in a log either.
func withoutPassword(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text
	}
	begin := 0
	if i := strings.Index(text[:at], "://"); i >= 0 {
		begin = i + len("://")
	}
	if colon := strings.IndexByte(text[begin:at], ':'); colon >= 0 {
		return text[:begin+colon+1] + "…" + text[at:]
	}
	return text
}
