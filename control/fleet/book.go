package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"

	"kita/spec"
)

// Book is what a hosts.yml says: hosts by name, settings of hosts by pattern,
// and groups. The zero Book has nothing of all that. It is not changed once it
// is there.
type Book struct {
	// file is where it is from; empty where there is none to be read.
	file string
	// missing: there is no such file.
	missing bool
	// lost is why nobody knows where the file is; nil where that is known.
	lost error
	// entries have names of their own and stand in byName; patterns do not. Both
	// are in the order of the file.
	entries  []entry
	byName   map[string]int
	patterns []entry
	groups   []group
	byGroup  map[string]int
}

// entry is a host of the file, or a pattern, whose host has no Name.
type entry struct {
	// name is a name as parseHost spells it, or a pattern in small letters.
	name string
	// host has a Port of 0 where the file says none.
	host Host
}

type group struct {
	name    string
	members []string
}

// Selection is whom a command is for.
type Selection struct {
	Hosts []Host
	// Many: several hosts are meant, even if it came to one: more than one is
	// there, or a pattern or a group was named.
	Many bool
}

// Select reads the words after each `on`: hosts separated by commas and spaces,
// each a name of the book, any other name, an IPv4 or IPv6 address, with or
// without a port (IPv6 needs brackets to have one), or ssh://user@host:port,
// which goes through the host's own sshd; a pattern like web-*, which stands for
// the hosts of the book that fit; or @GROUP, which may be a pattern too. A host
// that is given twice, by whatever name, is there once, under the first, with the
// first key that a name gives it. No words at all mean Local. The error names every word that is wrong.
func (b *Book) Select(words []string) (Selection, error) {
	if len(words) == 0 {
		return Selection{Hosts: []Host{Local}}, nil
	}
	s := selecting{book: b, seen: map[Host]int{}, entered: map[string]bool{}}
	var errs []error
	for _, word := range words {
		for _, text := range strings.FieldsFunc(word, isSeparator) {
			if err := s.add(text); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(s.hosts) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no host is named after `on`"))
	}
	if err := errors.Join(errs...); err != nil {
		return Selection{}, err
	}
	return Selection{Hosts: s.hosts, Many: s.many || len(s.hosts) > 1}, nil
}

// Names are the hosts and the groups, with their @, in the order of the file.
func (b *Book) Names() []string {
	var names []string
	for _, e := range b.entries {
		names = append(names, e.name)
	}
	for _, g := range b.groups {
		names = append(names, "@"+g.name)
	}
	return names
}

// selecting is one Select.
type selecting struct {
	book  *Book
	hosts []Host
	// seen are the places of hosts, by the server alone.
	seen map[Host]int
	// taken counts hosts, also those that were there before.
	taken int
	// entered are the groups whose members are in hosts, or on the way there.
	entered map[string]bool
	many    bool
}

// add takes one word; it may be a member of a group as well.
func (s *selecting) add(text string) error {
	b := s.book
	switch {
	case strings.HasPrefix(text, "@"):
		s.many = true
		groups := b.groupsNamed(text[1:])
		if len(groups) == 0 {
			return fmt.Errorf("group %q: %w", text, b.noGroup(text[1:]))
		}
		before, again := s.taken, false
		for _, g := range groups {
			again = again || s.entered[g.name]
			if err := s.addGroup(g); err != nil {
				return err
			}
		}
		if s.taken == before && !again {
			return fmt.Errorf("group %q: it has no hosts in %s", text, b.file)
		}
	case isPattern(text):
		s.many = true
		entries := b.hostsNamed(text)
		if len(entries) == 0 {
			return fmt.Errorf("hosts %q: %w", withoutPassword(text), b.noHost())
		}
		for _, e := range entries {
			s.take(b.settle(e.host, e.name))
		}
	default:
		h, err := b.host(text)
		if err != nil {
			return fmt.Errorf("host %q: %w", withoutPassword(text), err)
		}
		s.take(h)
	}
	return nil
}

func (s *selecting) addGroup(g group) error {
	if s.entered[g.name] {
		return nil
	}
	s.entered[g.name] = true
	for _, member := range g.members {
		name, isGroup := strings.CutPrefix(member, "@")
		if !isGroup {
			if err := s.add(member); err != nil {
				return err
			}
			continue
		}
		// One that fits g itself is entered already.
		for _, inner := range s.book.groupsNamed(name) {
			if err := s.addGroup(inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// inner are the groups that g names. A pattern that fits g itself does not mean
// it.
func (b *Book) inner(g group) []group {
	var groups []group
	for _, member := range g.members {
		name, is := strings.CutPrefix(member, "@")
		if !is {
			continue
		}
		for _, found := range b.groupsNamed(name) {
			if found.name != g.name || name == g.name {
				groups = append(groups, found)
			}
		}
	}
	return groups
}

// take keeps h unless the same server is there already. A key that only a later
// name gives is kept too: what it encrypts must not be sent in plain text.
func (s *selecting) take(h Host) {
	s.taken++
	server := h
	server.Label, server.Key = "", ""
	at, seen := s.seen[server]
	switch {
	case !seen:
		s.seen[server] = len(s.hosts)
		s.hosts = append(s.hosts, h)
	case s.hosts[at].Key == "":
		s.hosts[at].Key = h.Key
	}
}

// host is what one word means that is neither a pattern nor a group.
func (b *Book) host(text string) (Host, error) {
	h, err := parseHost(text, 0)
	if err != nil {
		return Host{}, err
	}
	name := h.Name
	if _, err := netip.ParseAddr(name); err != nil && b.lost != nil && !h.SSH {
		return Host{}, fmt.Errorf("%w; set it, or give --hosts-file FILE", b.lost)
	}
	at, known := b.byName[name]
	if h.SSH || !known {
		return b.settle(h, name), nil
	}
	own, port := b.entries[at].host, h.Port
	if port != 0 {
		own.Port = port
		own.Label = h.Addr()
	}
	return b.settle(own, name), nil
}

// settle completes a host with the settings of the patterns that its name
// fits; the first one that has a setting decides.
func (b *Book) settle(h Host, name string) Host {
	for _, e := range b.patterns {
		if !fits(e.name, strings.ToLower(name)) {
			continue
		}
		if h.Key == "" {
			h.Key = e.host.Key
		}
		// The login is that of an sshd, the port that of kita's own server.
		if h.SSH && h.User == "" {
			h.User = e.host.User
		}
		if !h.SSH && h.Port == 0 {
			h.Port = e.host.Port
		}
	}
	if !h.SSH && h.Port == 0 {
		h.Port = spec.DefaultPort
	}
	return h
}

// isPattern: a [ at the beginning is that of an IPv6 address.
func isPattern(text string) bool {
	return !strings.Contains(text, "://") && (strings.ContainsAny(text, "*?") || strings.LastIndexByte(text, '[') > 0)
}

// fits: a pattern that is not well formed fits nothing.
func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func (b *Book) hostsNamed(pattern string) []entry {
	var found []entry
	for _, e := range b.entries {
		if fits(strings.ToLower(pattern), e.name) {
			found = append(found, e)
		}
	}
	return found
}

// groupsNamed are the groups that name means, which may be a pattern.
func (b *Book) groupsNamed(name string) []group {
	if at, known := b.byGroup[name]; known {
		return []group{b.groups[at]}
	}
	var found []group
	if strings.ContainsAny(name, "*?[") {
		for _, g := range b.groups {
			if fits(name, g.name) {
				found = append(found, g)
			}
		}
	}
	return found
}

// mostListed is how many groups an error lists.
const mostListed = 10

func (b *Book) noGroup(name string) error {
	switch {
	case b.lost != nil:
		return b.lost
	case b.file == "":
		return errors.New("groups need a hosts.yml, which is not read here")
	case b.missing:
		return fmt.Errorf("groups stand in %s, which is not there", b.file)
	case len(b.groups) == 0:
		return fmt.Errorf("%s has no groups", b.file)
	}
	var names []string
	for _, g := range b.groups[:min(len(b.groups), mostListed)] {
		names = append(names, "@"+g.name)
	}
	if more := len(b.groups) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	if strings.ContainsAny(name, "*?[") {
		return fmt.Errorf("no group of %s fits, there are %s", b.file, strings.Join(names, ", "))
	}
	return fmt.Errorf("%s has no such group, there are %s", b.file, strings.Join(names, ", "))
}

func (b *Book) noHost() error {
	switch {
	case b.lost != nil:
		return b.lost
	case b.file == "":
		return errors.New("a pattern is for the hosts of a hosts.yml, which is not read here")
	case b.missing:
		return fmt.Errorf("a pattern is for the hosts in %s, which is not there", b.file)
	}
	return fmt.Errorf("no host in %s fits", b.file)
}
