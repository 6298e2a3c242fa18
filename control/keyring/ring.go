package keyring

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Key is a public key that a server admits.
type Key struct {
	// Name is the file's name without .pem or .pub.
	Name string
	// File is where it was found.
	File   string
	Public ssh.PublicKey
}

// Fingerprint is that of OpenSSH, "SHA256:…".
func (k Key) Fingerprint() string { return ssh.FingerprintSHA256(k.Public) }

// Refused is the error of a key that is not admitted.
type Refused struct {
	// Unknown: no file has the key or the name. Else there is one, and it
	// cannot be used.
	Unknown bool
	// Reason is one line for the server's own log. A peer must not see it.
	Reason string
}

func (e *Refused) Error() string { return e.Reason }

// Ring finds the public keys in directories, which it looks at anew each time:
// what has been read is kept only as long as the files are the same. Its
// methods may be called from many goroutines at once.
type Ring struct {
	dirs func() []string
	now  func() time.Time

	// looking is held during a look at everything, so that however many ask at
	// once, it takes two at most.
	looking sync.Mutex
	last    look // owned by looking

	mu    sync.Mutex
	begun uint64            // owned by mu: looks at everything
	cache map[string]cached // owned by mu: by path, the files of the last look
}

// NewRing makes a ring of the directories that dirs returns at each call.
func NewRing(dirs func() []string) *Ring {
	return &Ring{dirs: dirs, now: time.Now, cache: map[string]cached{}}
}

// Find returns the key whose public half is public. Of a key that lies there
// under several names, login chooses one. The error is a *Refused that says why
// there is none: no file has it, two files have its name, the file may be
// written by others, the key is too weak.
func (r *Ring) Find(public ssh.PublicKey, login string) (Key, error) {
	look := r.lookAround()
	want := public.Marshal()
	matches := map[string]file{}
	for _, f := range look.files {
		if f.public != nil && bytes.Equal(f.wire, want) {
			if _, ok := matches[f.name]; !ok {
				matches[f.name] = f
			}
		}
	}
	if f, ok := matches[login]; ok {
		return look.admit(f.name)
	}
	switch len(matches) {
	case 0:
		return Key{}, &Refused{Unknown: true, Reason: look.nowhere("has the key")}
	case 1:
		for name := range matches {
			return look.admit(name)
		}
	}
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(matches)) {
		paths = append(paths, matches[name].path)
	}
	return Key{}, &Refused{Reason: fmt.Sprintf("the key lies there under several names, log in with one of them: %s", strings.Join(paths, ", "))}
}

// Named returns the key of that name, with the errors of Find. It looks at the
// files of that name only.
func (r *Ring) Named(name string) (Key, error) {
	if !saneName(name) {
		return Key{}, &Refused{Unknown: true, Reason: fmt.Sprintf("%.100q can be no name of a key", name)}
	}
	return r.lookFor(name).admit(name)
}

// Check is nil while the key may still be used: its file is there, and has the
// same key.
func (r *Ring) Check(k Key) error {
	now, err := r.Named(k.Name)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.Public.Marshal(), k.Public.Marshal()) {
		return &Refused{Reason: fmt.Sprintf("%s has another key now", now.File)}
	}
	return nil
}

// Problems has a line for each directory and file that cannot be used.
func (r *Ring) Problems() []string {
	look := r.lookAround()
	problems := slices.Clone(look.problems)
	seen := map[string]bool{}
	for _, f := range look.files {
		if f.err != nil {
			problems = append(problems, f.path+": "+f.err.Error())
		}
		if seen[f.name] {
			continue
		}
		seen[f.name] = true
		if err := look.twice(f.name); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

// look is what was found in the directories at one time.
type look struct {
	dirs []string
	// files are in the order of the directories and then of their names.
	files []file
	// problems are those of directories, and of files whose name cannot be one.
	problems []string
}

// admit returns the key of a name if exactly one file has that name and it may
// be used.
func (l look) admit(name string) (Key, error) {
	if err := l.twice(name); err != nil {
		return Key{}, err
	}
	for _, f := range l.files {
		if f.name != name {
			continue
		}
		if err := f.problem(); err != nil {
			return Key{}, &Refused{Reason: f.path + ": " + err.Error()}
		}
		return Key{Name: name, File: f.path, Public: f.public}, nil
	}
	return Key{}, &Refused{Unknown: true, Reason: l.nowhere(fmt.Sprintf("has the name %q", name))}
}

// twice is an error where a name has two files: which of them is meant is not
// for the server to guess.
func (l look) twice(name string) error {
	var paths []string
	for _, f := range l.files {
		if f.name == name {
			paths = append(paths, f.path)
		}
	}
	if len(paths) < 2 {
		return nil
	}
	return &Refused{Reason: fmt.Sprintf("the key %s has two files, so neither is used, take one away: %s", name, strings.Join(paths, ", "))}
}

// nowhere says that no file is as wanted, and where it could have been.
func (l look) nowhere(wanted string) string {
	if len(l.dirs) == 0 {
		return "no file " + wanted + ", because no directory of keys is set"
	}
	reason := fmt.Sprintf("no .pem or .pub file in %s %s", strings.Join(l.dirs, ", "), wanted)
	if len(l.problems) > 0 {
		reason += " (" + strings.Join(l.problems, "; ") + ")"
	}
	return bounded(reason)
}

// bounded keeps a line of a log short, however many problems there are.
func bounded(line string) string {
	const most = 2048
	if len(line) <= most {
		return line
	}
	return strings.ToValidUTF8(line[:most], "") + "…"
}
