package sshhost

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// environment is what the configuration may refer to.
type environment struct {
	home, systemDir string
	// user is one's own login, host the name of this machine.
	user, host string
	getenv     func(string) string
}

// environment finds what c leaves open.
func (c Config) environment() (environment, error) {
	env := environment{home: c.Home, systemDir: c.SystemDir, getenv: c.Getenv}
	if env.getenv == nil {
		env.getenv = os.Getenv
	}
	if env.systemDir == "" {
		env.systemDir = "/etc/ssh"
	}
	if env.home == "" {
		home, err := os.UserHomeDir()
		if err != nil || !filepath.IsAbs(home) {
			return environment{}, errors.New("your home directory is not known, set HOME")
		}
		env.home = home
	}
	if me, err := user.Current(); err == nil {
		env.user = me.Username
	}
	if env.user == "" {
		env.user = env.getenv("USER")
	}
	// Only the token %l needs it.
	env.host, _ = os.Hostname()
	return env, nil
}

// expandHome resolves a leading ~ and each ${NAME}.
func (env environment) expandHome(path string) (string, error) {
	path, err := env.expandVariables(path)
	if err != nil || !strings.HasPrefix(path, "~") {
		return path, err
	}
	name, rest, _ := strings.Cut(path[1:], "/")
	home := env.home
	if name != "" {
		other, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("the home directory of %s is not known", name)
		}
		home = other.HomeDir
	}
	return filepath.Join(home, rest), nil
}

// expandVariables resolves each ${NAME}; one that is not set is an error, as it
// is for ssh.
func (env environment) expandVariables(text string) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		set := env.getenv(name)
		if !closed || set == "" {
			return "", fmt.Errorf("the variable ${%s} is not set", name)
		}
		out.WriteString(set)
		text = rest
	}
}

// expandTokens resolves each %X of ssh_config(5).
func expandTokens(text string, tokens map[byte]string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out.WriteByte(text[i])
			continue
		}
		i++
		switch {
		case i == len(text):
			return "", errors.New("a % stands at the end, write %% for the sign itself")
		case text[i] == '%':
			out.WriteByte('%')
		default:
			token, known := tokens[text[i]]
			if !known {
				return "", fmt.Errorf("%%%c cannot be used here", text[i])
			}
			out.WriteString(token)
		}
	}
	return out.String(), nil
}
