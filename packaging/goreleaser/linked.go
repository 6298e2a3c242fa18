package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

// sections are those of the file that the steps carry out in full.
var sections = []string{
	"version", "project_name", "dist", "env", "before", "builds", "archives", "nfpms", "sboms", "checksum",
	"snapshot", "git", "gomod", "metadata", "report_sizes",
}

// disabled are those that have to say disable: true, as their steps are not linked, and
// do something where the file says nothing.
var disabled = []string{"changelog", "release"}

// linked refuses what the steps would pass over.
func linked(c config.Project) error {
	var errs []error
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if !v.Field(i).IsZero() && !slices.Contains(sections, name) && !slices.Contains(disabled, name) {
			errs = append(errs, fmt.Errorf("%s: this goreleaser has no step for it", name))
		}
	}
	if c.Changelog.Disable != "true" {
		errs = append(errs, errors.New("changelog: this goreleaser has no step for it, write disable: true"))
	}
	if c.Release.Disable != "true" {
		errs = append(errs, errors.New("release: this goreleaser has no step for it, write disable: true"))
	}
	return errors.Join(errs...)
}
