package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/semver/v3"
)

// facts are what the templates of the file speak of.
type facts map[string]any

// gather asks git for the commit. Sources without git are of SOURCE_DATE_EPOCH, else of
// the epoch.
func gather(c *Config, override string) (facts, error) {
	when := time.Unix(0, 0)
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		when = time.Unix(epoch, 0)
	} else if epoch, err := strconv.ParseInt(git("log", "-1", "--format=%ct"), 10, 64); err == nil {
		when = time.Unix(epoch, 0)
	}
	tag := git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
	if tag == "" {
		tag = "v0.0.0"
	}
	f := facts{
		"ProjectName":     c.ProjectName,
		"Version":         strings.TrimPrefix(tag, "v"),
		"CommitDate":      when.UTC().Format(time.RFC3339),
		"CommitTimestamp": when.Unix(),
	}
	if override != "" {
		f["Version"] = override
		return f, nil
	}
	version, err := f.text(c.Snapshot.VersionTemplate)
	f["Version"] = version
	return f, err
}

// git is the answer of a git command, empty where there is none.
func git(args ...string) string {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// with has more facts.
func (f facts) with(more facts) facts {
	all := maps.Clone(f)
	maps.Copy(all, more)
	return all
}

// text is a template filled in. What is not known is an error.
func (f facts) text(text string) (string, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"incpatch": incpatch}).Parse(text)
	if err != nil {
		return "", fmt.Errorf("template %q: %w", text, err)
	}
	var out strings.Builder
	if err := t.Execute(&out, f); err != nil {
		return "", fmt.Errorf("template %q: %w", text, err)
	}
	return out.String(), nil
}

// texts fills in several in place.
func (f facts) texts(all ...*string) error {
	for _, text := range all {
		filled, err := f.text(*text)
		if err != nil {
			return err
		}
		*text = filled
	}
	return nil
}

// date is a template that comes to a time.
func (f facts) date(text string) (time.Time, error) {
	filled, err := f.text(text)
	if err != nil || filled == "" {
		return time.Time{}, err
	}
	if seconds, err := strconv.ParseInt(filled, 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC(), nil
	}
	return time.Parse(time.RFC3339, filled)
}

func incpatch(version string) (string, error) {
	v, err := semver.NewVersion(version)
	if err != nil {
		return "", fmt.Errorf("version %q: %w", version, err)
	}
	return v.IncPatch().String(), nil
}
