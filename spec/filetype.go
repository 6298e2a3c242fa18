package spec

// FileType describes one of the files that kita reads.
type FileType struct {
	// Name is the word for it, File what such a file is called.
	Name, File string
	// Doc and More are texts as those of a Key.
	Doc, More string
	// Example is a whole file.
	Example string
	Keys    []Key
}

// Key describes the whole file as a key's value is described.
func (f FileType) Key() Key {
	return Key{Name: f.Name, Forms: []Form{Mapping}, Example: f.Example, Doc: f.Doc, More: f.More, Keys: f.Keys}
}

// FileTypes describes all files.
func FileTypes() []FileType {
	return []FileType{
		{Name: "server", File: "server.yml", Doc: "the file of a server, for `kita serve FILE`",
			More:    "Without FILE it is `/etc/kita/server.yml`. Each key has a default",
			Example: "loadpaths: [/srv/children]\nlistener_addr: 127.0.0.1\noutput_dir: /var/log/kita", Keys: ServerKeys()},
		{Name: "child", File: "NAME.yml", Doc: "the file of the child NAME, in a directory of `loadpaths`",
			More:    "start, restart and trystart read it afresh",
			Example: "command: ./server --port 80\nrestart: on-failure\nstop: {grace: 30s}", Keys: ChildKeys()},
		{Name: "hosts", File: "hosts.yml", Doc: "names for `on`: a user's `~/.config/kita/hosts.yml`",
			More:    "See [many hosts](hosts.md#hostsyml)",
			Example: "hosts: {web1: 10.0.0.1, web2: {address: 10.0.0.2, port: 4000}}\ngroups: {web: [web1, web2]}", Keys: HostsKeys()},
	}
}
