package main

import (
	"os"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const ours = "../../.goreleaser.yaml"

func TestOurFileHasAStepForEachSection(t *testing.T) {
	c, err := config.Load(ours)
	if err == nil {
		err = linked(c)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestWhatWouldBePassedOverIsRefused changes our file to what the whole of goreleaser
// would carry out.
func TestWhatWouldBePassedOverIsRefused(t *testing.T) {
	content, err := os.ReadFile(ours)
	if err != nil {
		t.Fatal(err)
	}
	const release, changelog = "release:\n  disable: true\n", "changelog:\n  disable: true\n"
	for _, tt := range []struct{ name, old, new, want string }{
		{"archive of the sources", release, release + "source: {enabled: true}\n", "source: this goreleaser has no step for it"},
		{"signatures", release, release + "signs: [{cmd: gpg}]\n", "signs: this goreleaser has no step for it"},
		{"image", release, release + "dockers_v2: [{images: [kita]}]\n", "dockers_v2: this goreleaser has no step for it"},
		{"two", release, release + "upx: [{enabled: true}]\nsrpm: {enabled: true}\n", "srpm: this goreleaser has no step for it\nupx: "},
		{"release", release, "", "release: this goreleaser has no step for it, write disable: true"},
		{"changelog", changelog, "", "changelog: this goreleaser has no step for it, write disable: true"},
		{"unknown", release, release + "checksums: {}\n", "field checksums not found"},
		{"unknown in a section", "    section: admin", "    sektion: admin", "field sektion not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(string(content), tt.old, tt.new, 1)
			if changed == string(content) {
				t.Fatalf("our file has no %q", tt.old)
			}
			c, err := config.LoadReader(strings.NewReader(changed))
			if err == nil {
				err = linked(c)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it says %v, want %q", err, tt.want)
			}
		})
	}
}
