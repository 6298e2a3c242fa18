package fleet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"kita/spec"
)

// Host is one server to ask, and how.
type Host struct {
	// Name is a host name or an IP address, without brackets; with SSH also an
	// alias of ~/.ssh/config.
	Name string
	// Port is that of the server; with SSH that of the host's sshd, 0 for what
	// ~/.ssh/config says or 22.
	Port uint16
	// SSH: the server is asked through the host's own sshd, as in
	// ssh://user@host.
	SSH bool
	// User is the login of SSH; empty means what ~/.ssh/config says, or one's own.
	User string
	// Key is the private key, a file or agent:NAME; empty means that of `with`.
	Key string
	// Label is the name that it has in hosts.yml; empty where it is not from there.
	Label string
}

// Local is the server of this host, which is asked when no host is named.
var Local = Host{Name: "127.0.0.1", Port: spec.DefaultPort}

// Addr is what net.Dial takes.
func (h Host) Addr() string { return net.JoinHostPort(h.Name, strconv.Itoa(int(h.Port))) }

// String is the form in which results name a host: its label, else its
// ssh:// URL, else Addr.
func (h Host) String() string {
	switch {
	case h.Label != "":
		return h.Label
	case !h.SSH:
		return h.Addr()
	}
	u := url.URL{Scheme: "ssh", Host: h.Name}
	if h.Port != 0 {
		u.Host = h.Addr()
	} else if strings.Contains(h.Name, ":") {
		u.Host = "[" + h.Name + "]"
	}
	if h.User != "" {
		u.User = url.User(h.User)
	}
	return u.String()
}

// ParseHosts is Book.Select without a hosts.yml.
func ParseHosts(words []string) ([]Host, error) {
	selection, err := new(Book).Select(words)
	return selection.Hosts, err
}

func isSeparator(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }

// parseHost reads one host; otherwise is the port of one that gives none. With
// ssh:// that is always 0.
func parseHost(text string, otherwise uint16) (Host, error) {
	if scheme, _, found := strings.Cut(text, "://"); found {
		if strings.EqualFold(scheme, "ssh") {
			return parseSSH(text[len("ssh://"):])
		}
		return Host{}, fmt.Errorf("%s:// is not supported, write the host alone", scheme)
	}
	if strings.Contains(text, "@") {
		return Host{}, fmt.Errorf("a login is that of the host's sshd, write ssh://%s", withoutPassword(text))
	}
	name, port, err := splitPort(text, otherwise)
	if err != nil {
		return Host{}, err
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		// One spelling, so that ::1 and 0:0::1 are the same host.
		return Host{Name: addr.String(), Port: port}, checkZone(addr)
	}
	if err := checkName(name); err != nil {
		return Host{}, err
	}
	return Host{Name: strings.ToLower(name), Port: port}, nil
}

// splitPort takes brackets and the port off; otherwise is the port of a host
// that gives none.
func splitPort(text string, otherwise uint16) (name string, port uint16, err error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.String(), otherwise, nil
	}
	if inner, found := strings.CutPrefix(text, "["); found {
		inside, after, closed := strings.Cut(inner, "]")
		addr, err := netip.ParseAddr(inside)
		switch {
		case !closed:
			return "", 0, errors.New("the ] is missing")
		case err != nil || !addr.Is6():
			return "", 0, errors.New("brackets are for an IPv6 address, as in [::1]:1234")
		case after == "":
			return inside, otherwise, nil
		case after[0] != ':':
			return "", 0, fmt.Errorf("%q stands after the ]", after)
		}
		port, err := parsePort(after[1:])
		return inside, port, err
	}
	name, digits, found := strings.Cut(text, ":")
	if !found {
		return name, otherwise, nil
	}
	if strings.Contains(digits, ":") {
		return "", 0, errors.New("it has several colons and is no IPv6 address; with a port write [::1]:1234")
	}
	port, err = parsePort(digits)
	return name, port, err
}

func parsePort(digits string) (uint16, error) {
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is no port, give a number from 1 to 65535", digits)
	}
	return uint16(port), nil
}

// checkZone refuses a zone that could not be written with a port.
func checkZone(addr netip.Addr) error {
	if strings.ContainsFunc(addr.Zone(), func(r rune) bool { return r != '.' && !isNameRune(r) }) {
		return fmt.Errorf("%q is no zone of an address", addr.Zone())
	}
	return nil
}

// checkName accepts what RFC 1123 does and the underscore many networks use.
func checkName(name string) error {
	trimmed := strings.TrimSuffix(name, ".")
	if trimmed == "" {
		return errors.New("the name is empty")
	}
	if len(trimmed) > 253 {
		return errors.New("the name is longer than 253 characters")
	}
	onlyNumbers := true
	for label := range strings.SplitSeq(trimmed, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("it is neither an address nor a host name")
		}
		for _, r := range label {
			if !isNameRune(r) {
				return fmt.Errorf("%q cannot be in a host name", r)
			}
			onlyNumbers = onlyNumbers && r >= '0' && r <= '9'
		}
	}
	if onlyNumbers {
		return errors.New("it is no IPv4 address, which has four numbers from 0 to 255")
	}
	return nil
}

func isNameRune(r rune) bool {
	return r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
