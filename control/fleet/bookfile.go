package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"kita/spec"
)

// DefaultFile is where a user's hosts.yml is: kita/hosts.yml in the user's
// configuration directory, ~/.config on Linux. The error is of an environment
// that does not tell that directory.
func DefaultFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("cannot tell where your hosts.yml is: %w", err)
	}
	return filepath.Join(dir, "kita", "hosts.yml"), nil
}

// OpenDefault is Open of the DefaultFile. Where that cannot be told, the Book
// takes addresses and ssh:// alone: any other name could be one of the file,
// which may have a key for it, and is not to be asked in plain text instead.
func OpenDefault() (*Book, error) {
	file, err := DefaultFile()
	if err != nil {
		return &Book{lost: err}, nil
	}
	return Open(file)
}

// Open reads a hosts.yml. One that is not there is a Book that knows so. A file
// that others than its user and root could have written is refused: it decides
// which key goes where. The error is spec.FileErrors, with all that is wrong,
// where the file was read.
func Open(file string) (*Book, error) {
	switch err := trusted(file); {
	case errors.Is(err, fs.ErrNotExist):
		if link := dangling(file, filepath.Dir(file)); link != "" {
			return nil, fmt.Errorf("hosts.yml: %s is a link to what is not there", link)
		}
		return &Book{file: file, missing: true}, nil
	case err != nil:
		return nil, fmt.Errorf("hosts.yml: %w", err)
	}
	hosts, err := spec.LoadHosts(file)
	if err != nil {
		return nil, err
	}
	return newBook(hosts)
}

// Check has what is wrong with a hosts.yml beyond its form, as spec.FileErrors.
func Check(hosts *spec.Hosts) error {
	_, err := newBook(hosts)
	return err
}

// Missing tells whether there was no file to be read.
func (b *Book) Missing() bool { return b.missing }

// trusted looks at the file, at what it may be a link to, and at the
// directories in which others could replace either.
func trusted(file string) error {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	for _, path := range []string{path, filepath.Dir(path), filepath.Dir(file)} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		owner := -1
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			owner = int(st.Uid)
		}
		switch {
		case owner != 0 && owner != os.Geteuid():
			return fmt.Errorf("it decides which keys go where, and user %d owns %s: use a file of your own", owner, path)
		case info.IsDir() && info.Mode()&os.ModeSticky != 0:
		case info.Mode().Perm()&0o022 != 0:
			return fmt.Errorf("it decides which keys go where, and others can write %s: chmod go-w %s", path, path)
		}
	}
	return nil
}

// dangling is the first of the paths that is a link to nothing; empty for none.
func dangling(paths ...string) string {
	for _, path := range paths {
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// newBook checks what hosts.yml says beyond its form.
func newBook(hosts *spec.Hosts) (*Book, error) {
	d := draft{Book: &Book{file: hosts.File, byName: map[string]int{}, byGroup: map[string]int{}}}
	for _, e := range hosts.Hosts {
		d.addEntry(e)
	}
	for _, g := range hosts.Groups {
		d.addGroup(g)
	}
	// With one missing, what others mean by @ is not known.
	if len(d.groups) == len(hosts.Groups) {
		for _, g := range hosts.Groups {
			d.checkMembers(g)
		}
	}
	if len(d.errs) == 0 {
		d.checkCircles(hosts.Groups)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.Book, nil
}

// draft is a Book while it is made.
type draft struct {
	*Book
	errs spec.FileErrors
}

func (d *draft) addEntry(e spec.HostEntry) {
	if isPattern(e.Name.Text) {
		d.addPattern(e)
		return
	}
	named, err := parseHost(e.Name.Text, 0)
	switch {
	case err != nil:
		d.failf(e.Name, "%v; write a name like web1", err)
		return
	case named.SSH || named.Port != 0:
		d.failf(e.Name, "is an address where a name belongs, write web1: %s", withoutPassword(e.Name.Text))
		return
	}
	if _, twice := d.byName[named.Name]; twice {
		d.failf(e.Name, "is given twice, in small letters and in large ones, leave one out")
		return
	}
	h := named
	if e.Address.Line != 0 {
		if h, err = parseHost(e.Address.Text, 0); err != nil {
			d.failf(e.Address, "%q: %v", withoutPassword(e.Address.Text), err)
			return
		}
	}
	h.Label = named.Name
	d.setPort(&h, e)
	d.setUser(&h, e)
	h.Key = d.keyFile(e)
	d.byName[named.Name] = len(d.entries)
	d.entries = append(d.entries, entry{named.Name, h})
}

func (d *draft) addPattern(e spec.HostEntry) {
	name := strings.ToLower(e.Name.Text)
	switch {
	case !wellFormed(name):
		d.failf(e.Name, "is no pattern: a [ has no ], write web-* or web[1-9]")
		return
	case strings.ContainsAny(name, "@:/") || strings.ContainsFunc(name, isSeparator):
		d.failf(e.Name, "is no pattern of names, write web-* or web[1-9]")
		return
	case e.Address.Line != 0:
		d.failf(e.Address, "has an address, which would be that of every host that fits: write it for each host, and here key, user or port")
		return
	}
	h := Host{Port: e.Port, Key: d.keyFile(e)}
	if e.User.Line != 0 {
		as := Host{SSH: true}
		d.setUser(&as, e)
		h.User = as.User
	}
	d.patterns = append(d.patterns, entry{name, h})
}

func (d *draft) setPort(h *Host, e spec.HostEntry) {
	switch {
	case e.Port == 0:
	case h.Port != 0:
		d.failf(e.PortAt, "is given twice, here and in the address, leave one out")
	default:
		h.Port = e.Port
	}
}

func (d *draft) setUser(h *Host, e spec.HostEntry) {
	switch {
	case e.User.Line == 0:
	case !h.SSH:
		d.failf(e.User, "is the login of an sshd, which this host is not asked through: write address: %s, or leave it out", withoutPassword("ssh://"+url.PathEscape(e.User.Text)+"@"+h.Name))
	case h.User != "":
		d.failf(e.User, "is given twice, here and in the address, leave one out")
	default:
		user, err := parseUser(url.PathEscape(e.User.Text))
		if err != nil {
			d.failf(e.User, "%v", err)
		}
		h.User = user
	}
}

// keyFile is the key of an entry, as `with` takes it from anywhere.
func (d *draft) keyFile(e spec.HostEntry) string {
	name := e.Key.Text
	switch {
	case name == "" || strings.HasPrefix(name, "agent:") || filepath.IsAbs(name):
		return name
	case name == "~" || strings.HasPrefix(name, "~") && !strings.HasPrefix(name, "~/"):
		d.failf(e.Key, "%q: only ~/ is known, write key: ~/keys/ops.pem", name)
		return ""
	case strings.HasPrefix(name, "~/"):
		home, err := os.UserHomeDir()
		if err != nil {
			d.failf(e.Key, "%q: %v, write an absolute path", name, err)
			return ""
		}
		return filepath.Join(home, name[2:])
	}
	dir, err := filepath.Abs(filepath.Dir(d.file))
	if err != nil {
		d.failf(e.Key, "%q: %v, write an absolute path", name, err)
		return ""
	}
	return filepath.Join(dir, name)
}
