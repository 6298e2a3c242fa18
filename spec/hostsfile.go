package spec

// Hosts is hosts.yml, by which a user names servers: its form only. What an
// address is, and whether groups make sense together, is for control/fleet to
// say, in FileErrors of its own.
type Hosts struct {
	// File is the path it was read from.
	File string
	// Hosts and Groups are in the order of the file.
	Hosts  []HostEntry
	Groups []HostGroup
}

// HostEntry is a host, or the settings of all hosts that fit a pattern.
type HostEntry struct {
	// Name is as in the file, a pattern of path.Match where it has one of *?[.
	Name Setting
	// Address, User and Key have no Line where the file does not have them.
	Address, User, Key Setting
	// Port is 0 where the file does not have it; PortAt is where it does.
	Port   uint16
	PortAt Setting
}

// HostGroup is a list of hosts, patterns of hosts and @groups.
type HostGroup struct {
	Name    Setting
	Members []Setting
}

// Setting is a text of a file, with the line, which counts from 1, and the key
// that a FileError about it has.
type Setting struct {
	Text string
	Line int
	Key  string
}

func (v value) setting(text string) Setting { return Setting{text, v.line, v.key} }

func hostsRules() []rule[Hosts] {
	return []rule[Hosts]{
		{Key{Name: "hosts", Forms: []Form{Mapping}, Example: "hosts: {web1: 10.0.0.1}", Default: "none",
			Value: &Key{Forms: []Form{Scalar, Mapping}, Kind: KindHost, Keys: keysOf(hostRules())},
			Doc:   "names of hosts and their addresses, or mappings of the keys below", More: "A name with `*`, `?` or `[` holds the settings of every host that fits"}, readHosts},
		{Key{Name: "groups", Forms: []Form{Mapping}, Example: "groups: {web: [web1, 'web-*']}", Default: "none",
			Value: &Key{Forms: []Form{List}, Element: scalars(KindHost)},
			Doc:   "names of groups, for `@NAME`, and their members", More: "Hosts, patterns of hosts, addresses, and other groups as `@NAME`"}, readGroups},
	}
}

func hostRules() []rule[HostEntry] {
	text := func(into func(*HostEntry) *Setting) func(value, *HostEntry) {
		return func(v value, h *HostEntry) {
			if s, ok := v.filledText(); ok {
				*into(h) = v.setting(s)
			}
		}
	}
	return []rule[HostEntry]{
		{Key{Name: "address", Forms: []Form{Scalar}, Kind: KindHost, Example: "address: 10.0.0.1", Default: "its name",
			Doc: "where it is, as `on` takes it"},
			text(func(h *HostEntry) *Setting { return &h.Address })},
		{Key{Name: "port", Forms: []Form{Scalar}, Kind: KindInteger, Example: "port: 33889", Min: 1, Max: 65535, Default: "`33889`",
			Doc: "that of kita's server; with `ssh://` that of the host's sshd, 22 without it"},
			func(v value, h *HostEntry) {
				if n, ok := v.integer(); ok {
					h.Port, h.PortAt = uint16(n), v.setting(v.node.Value)
				}
			}},
		{Key{Name: "user", Forms: []Form{Scalar}, Kind: KindText, Example: "user: ops", Default: "as ssh chooses it", Doc: "the login, with `ssh://`"},
			text(func(h *HostEntry) *Setting { return &h.User })},
		{Key{Name: "key", Forms: []Form{Scalar}, Kind: KindText, Example: "key: ~/keys/ops.pem", Default: "none",
			Doc: "what `with` takes: a private key or `agent:NAME`", More: "A relative path is relative to the file. `with` on the command line comes first"},
			text(func(h *HostEntry) *Setting { return &h.Key })},
	}
}

// HostsKeys describes the keys of hosts.yml.
func HostsKeys() []Key { return keysOf(hostsRules()) }

// LoadHosts reads hosts.yml. The error is FileErrors where the file was read
// but is wrong; it is fs.ErrNotExist where there is none.
func LoadHosts(path string) (*Hosts, error) {
	data, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseHosts(path, data)
}

// ParseHosts is LoadHosts for the content of a file. The error is FileErrors,
// with everything that is wrong.
func ParseHosts(path string, data []byte) (*Hosts, error) {
	doc := &document{file: path}
	h := &Hosts{File: path}
	if root := doc.parse(data); root != nil {
		v := doc.value(root, "", &Key{Name: "KEY", Forms: []Form{Mapping}, Example: "hosts: {web1: 10.0.0.1}"})
		if v.rootAdmitted() {
			readMapping(v, hostsRules(), h)
		}
	}
	if err := doc.err(); err != nil {
		return nil, err
	}
	return h, nil
}

func readHosts(v value, h *Hosts) {
	for _, f := range v.fields() {
		f.rule = &Key{Name: f.name, Forms: []Form{Scalar, Mapping}, Example: join("", f.name) + ": 10.0.0.1", Keys: keysOf(hostRules())}
		entry := HostEntry{Name: f.setting(f.name)}
		switch {
		case v.doc.closed:
			return
		case !f.admitted():
			continue
		case f.form() == Mapping:
			readMapping(f.value, hostRules(), &entry)
		default:
			if s, ok := f.filledText(); ok {
				entry.Address = f.setting(s)
			}
		}
		h.Hosts = append(h.Hosts, entry)
	}
}

func readGroups(v value, h *Hosts) {
	for _, f := range v.fields() {
		f.rule = &Key{Name: f.name, Forms: []Form{List}, Example: join("", f.name) + ": [web1, 'web-*']"}
		if v.doc.closed {
			return
		}
		if !f.admitted() {
			continue
		}
		group := HostGroup{Name: f.setting(f.name)}
		for _, item := range f.items() {
			if s, ok := item.filledText(); ok {
				group.Members = append(group.Members, item.setting(s))
			}
		}
		h.Groups = append(h.Groups, group)
	}
}
