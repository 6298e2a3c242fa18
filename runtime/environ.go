package runtime

import (
	"fmt"
	"strconv"
	"strings"

	"kita/spec"
)

// Variables that tell what a process is. They travel with it by the kernel, so
// a server that lost its files can still tell whose process it is.
const (
	envChild       = "KITA_CHILD"
	envIncarnation = "KITA_INCARNATION"
	envServer      = "KITA_SERVER"
	envNotify      = "NOTIFY_SOCKET"
)

// environment is the variables of a process: of two with one name, the later.
type environment struct {
	entries []string
	// index has where they are; base, where it is not nil, those that index has
	// not. It is shared by others.
	index, base map[string]int
}

func (e *environment) find(name string) (i int, ok bool) {
	if i, ok = e.index[name]; !ok {
		i, ok = e.base[name]
	}
	return i, ok
}

func (e *environment) set(name, value string) {
	entry := name + "=" + value
	if i, ok := e.find(name); ok {
		e.entries[i] = entry
		return
	}
	if e.index == nil {
		e.index = make(map[string]int, 8)
	}
	e.index[name] = len(e.entries)
	e.entries = append(e.entries, entry)
}

func (e *environment) get(name string) (string, bool) {
	i, ok := e.find(name)
	if !ok {
		return "", false
	}
	return e.entries[i][len(name)+1:], true
}

// over is an environment that begins as e, which must not change any more.
func (e *environment) over() *environment {
	const room = 8 // for what a launch adds
	return &environment{entries: append(make([]string, 0, len(e.entries)+room), e.entries...), base: e.index}
}

// inherited is what processes inherit of env: all but what is addressed to the
// server alone.
func inherited(env []string) *environment {
	e := &environment{}
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" || name == envChild || name == envIncarnation || name == envServer || name == envNotify {
			continue
		}
		e.set(name, value)
	}
	return e
}

// environ puts the environment of a process together: the server's own without
// what is addressed to the server alone, then who it runs as, env_file, env
// and the tokens, each overriding what came before.
func (h *Host) environ(c *spec.Child, incarnation uint64, as *account) (*environment, error) {
	e := h.env.over()
	if as != nil && as.name != "" {
		e.set("USER", as.name)
		e.set("LOGNAME", as.name)
	}
	if as != nil && as.home != "" {
		e.set("HOME", as.home)
	}
	if c.EnvFile != "" {
		vars, err := spec.ReadEnvFile(c.EnvFilePath())
		if err != nil {
			return nil, err
		}
		for _, v := range vars {
			e.set(v.Name, v.Value)
		}
	}
	for _, v := range c.Env {
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") || strings.Contains(v.Value, "\x00") {
			return nil, fmt.Errorf("env %q: a name needs a character and no '=', and neither may hold a NUL", v.Name)
		}
		e.set(v.Name, v.Value)
	}
	e.set(envChild, c.Name)
	e.set(envIncarnation, strconv.FormatUint(incarnation, 10))
	if h.id != "" {
		e.set(envServer, h.id)
	}
	return e, nil
}
