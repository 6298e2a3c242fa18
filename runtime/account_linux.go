package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"kita/spec"
)

// account is whom a process runs as, where that is not simply the server's own
// user and group.
type account struct {
	// label says it in errors: "user bob", "group web".
	label string
	// name and home are empty where they are not known or no user is set.
	name, home string
	// cred is nil where the ids are those the server has: a server that is not
	// root may not even set those.
	cred *syscall.Credential
}

// resolveAccount looks up the user and group of c; nil means the server's. A
// number needs no entry in /etc/passwd or /etc/group; the group of a user that
// has none is the same number, never the server's own.
func resolveAccount(c *spec.Child) (*account, error) {
	if c.User == "" && c.Group == "" {
		return nil, nil
	}
	a := &account{label: "user " + c.User}
	cred := &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	if c.User == "" {
		// Only the group changes; the other groups stay the server's.
		a.label = "group " + c.Group
		cred.NoSetGroups = true
	} else if err := a.lookupUser(c.User, cred); err != nil {
		return nil, err
	}
	if c.Group != "" {
		gid, err := lookupGroup(c.Group)
		if err != nil {
			return nil, err
		}
		if i := slices.Index(cred.Groups, cred.Gid); i >= 0 {
			cred.Groups[i] = gid
		}
		cred.Gid = gid
	}
	same := int(cred.Uid) == os.Geteuid() && int(cred.Gid) == os.Getegid()
	if !same {
		a.cred = cred
	}
	return a, nil
}

func (a *account) lookupUser(name string, cred *syscall.Credential) error {
	u, err := user.Lookup(name)
	id, nerr := strconv.ParseUint(name, 10, 32)
	if err != nil && nerr == nil {
		u, err = user.LookupId(name)
	}
	var unknownName user.UnknownUserError
	var unknownID user.UnknownUserIdError
	switch {
	case err == nil:
	case nerr == nil && errors.As(err, &unknownID):
		cred.Uid, cred.Gid = uint32(id), uint32(id)
		cred.Groups = []uint32{uint32(id)}
		return nil
	case errors.As(err, &unknownName):
		return fmt.Errorf("user %s: unknown user", name)
	default:
		return fmt.Errorf("user %s: %w", name, err)
	}
	a.name, a.home = u.Username, u.HomeDir
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of user %s: %w", name, err)
	}
	for _, text := range append([]string{u.Gid}, groups...) {
		gid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("groups of user %s: %q is no number", name, text)
		}
		if !slices.Contains(cred.Groups, uint32(gid)) {
			cred.Groups = append(cred.Groups, uint32(gid))
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return fmt.Errorf("user %s: the id %q is no number", name, u.Uid)
	}
	cred.Uid, cred.Gid = uint32(uid), cred.Groups[0]
	return nil
}

func lookupGroup(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		name = g.Gid
	}
	if id, nerr := strconv.ParseUint(name, 10, 32); nerr == nil {
		return uint32(id), nil
	}
	var unknown user.UnknownGroupError
	if errors.As(err, &unknown) {
		return 0, fmt.Errorf("group %s: unknown group", name)
	}
	return 0, fmt.Errorf("group %s: %w", name, err)
}

// credential is nil where the process keeps the server's ids; a may be nil.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return a.cred
}
