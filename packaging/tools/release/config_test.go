package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const ours = "../../../.goreleaser.yaml"

func TestOurConfigurationIsCarriedOut(t *testing.T) {
	if _, err := loadConfig(ours); err != nil {
		t.Error(err)
	}
}

// TestWhatWouldNotBeCarriedOutIsRefused changes our file to what goreleaser would
// take and this program would do differently.
func TestWhatWouldNotBeCarriedOutIsRefused(t *testing.T) {
	content, err := os.ReadFile(ours)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, old, new, want string }{
		{"unknown key", "project_name: kita", "project_name: kita\nsource: {enabled: true}", "field source not found"},
		{"unknown key of a package", "    section: admin", "    section: admin\n    epoch: 1", "field epoch not found"},
		{"unknown key of a build", "    binary: kita", "    binary: kita\n    buildmode: pie", "field buildmode not found"},
		{"other format", "formats: [tar.gz]", "formats: [zip]", "knows tar.gz"},
		{"no directory", "wrap_in_directory: true", "wrap_in_directory: false", "must be true"},
		{"other checksum", "algorithm: sha256", "algorithm: sha512", "knows sha256"},
		{"lists of archives", "artifacts: binary", "artifacts: archive", "one document for each binary"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(string(content), tt.old, tt.new, 1)
			if changed == string(content) {
				t.Fatalf("our file has no %q", tt.old)
			}
			path := filepath.Join(t.TempDir(), "goreleaser.yaml")
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := loadConfig(path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it says %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTemplates(t *testing.T) {
	f := facts{"Version": "1.2.3", "CommitTimestamp": int64(7)}
	for _, tt := range []struct{ text, want string }{
		{"kita_{{ .Version }}", "kita_1.2.3"},
		{"{{ incpatch .Version }}-dev.{{ .CommitTimestamp }}", "1.2.4-dev.7"},
	} {
		if got, err := f.text(tt.text); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"{{ .Branch }}", "{{ .Version", "{{ incmajor .Version }}"} {
		if got, err := f.text(text); err == nil {
			t.Errorf("%s is %q, want an error", text, got)
		}
	}
}
