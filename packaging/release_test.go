package packaging

import (
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestChecksumsAreThoseOfTheFiles(t *testing.T) {
	r, _ := build(t)
	sums := r.file(t, "*_sha256sums.txt")
	checked := strings.Fields(sayIn(t, r.dir, "sha256sum", "--strict", "-c", filepath.Base(sums)))
	content, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(content)) {
		listed = append(listed, strings.Fields(line)[1])
	}
	// Two packages and an archive for each Linux, an archive for macOS, and a list of
	// what is in each binary.
	if want := 2*3 + 1 + 3; len(listed) != want || len(checked) != 2*want {
		t.Errorf("%d files have a checksum, want %d: %v", len(listed), want, listed)
	}
	for _, name := range listed {
		if strings.Contains(name, "/") {
			t.Errorf("%s is not beside the list", name)
		}
	}
}

func TestBinariesAreStaticAndForTheirSystems(t *testing.T) {
	r, _ := build(t)
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		f, err := elf.Open(r.file(t, "kita_linux_"+arch+"_*/kita"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("the binary for %s is linked dynamically", arch)
			}
		}
		if f.Machine != machine || f.Section(".symtab") != nil {
			t.Errorf("the binary for %s is for %v, symbols: %v", arch, f.Machine, f.Section(".symtab") != nil)
		}
		f.Close()
	}
	f, err := macho.Open(r.file(t, "kita_darwin_arm64_*/kita"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Cpu != macho.CpuArm64 {
		t.Errorf("the binary for macOS is for %v", f.Cpu)
	}
}

func TestArchiveRunsWhereItIsUnpacked(t *testing.T) {
	r, _ := build(t)
	dir := t.TempDir()
	say(t, "tar", "-xzf", r.file(t, "*_linux_"+runtime.GOARCH+".tar.gz"), "-C", dir)
	name := "kita_" + r.version + "_linux_" + runtime.GOARCH
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Fatalf("the archive has %v, want the directory %s; %v", entries, name, err)
	}
	in := func(path string) string { return filepath.Join(dir, name, path) }
	if out := say(t, in("kita"), "version"); !strings.HasPrefix(out, "kita "+r.version+" ") {
		t.Errorf("it says of itself %q", out)
	}
	if out := say(t, in("kita"), "validate", in("examples/server.yml")); strings.Contains(out, "error") {
		t.Errorf("of its example it says\n%s", out)
	}
	for _, file := range []string{"README.md", "docs/commands.md", "docs/man/kita.1", "completions/kita.bash", "completions/_kita", "completions/kita.fish", "systemd/kita.service"} {
		if _, err := os.Stat(in(file)); err != nil {
			t.Error(err)
		}
	}
}

// TestTheSameSourcesAreTheSameBytes builds in two directories, of which one has a
// name of another length.
func TestTheSameSourcesAreTheSameBytes(t *testing.T) {
	build(t)
	if os.Getenv("KITA_DIST") != "" {
		t.Skip("make snapshot compares the checksums")
	}
	for _, pattern := range []string{"kita_linux_amd64_v1/kita", "*_linux_amd64.tar.gz", "*_linux_amd64.cdx.json", "*_amd64.deb", "*.x86_64.rpm"} {
		if a, b := sum(t, built.release.file(t, pattern)), sum(t, built.again.file(t, pattern)); a != b {
			t.Errorf("%s is %s, and %s in another directory", pattern, a, b)
		}
	}
	// Bytes that are the same as those of another version would say nothing.
	if sum(t, built.release.file(t, "kita_linux_amd64_v1/kita")) == sum(t, built.newer.file(t, "kita_linux_"+runtime.GOARCH+"_*/kita")) {
		t.Error("two versions have the same binary")
	}
}

func TestWhatIsInABinaryIsListed(t *testing.T) {
	r, _ := build(t)
	binary := r.file(t, "kita_linux_amd64_v1/kita")
	content, err := os.ReadFile(r.file(t, "*_linux_amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct {
				Name, Version string
				Hashes        []struct{ Alg, Content string }
			}
		}
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	subject := document.Metadata.Component
	if document.BOMFormat != "CycloneDX" || subject.Name != "kita" || subject.Version != r.version ||
		len(subject.Hashes) != 1 || subject.Hashes[0].Content != sum(t, binary) {
		t.Errorf("it is about %+v", subject)
	}
	// go version reads the same of the binary.
	want := []string{"std " + strings.TrimPrefix(runtime.Version(), "go")}
	for line := range strings.Lines(say(t, "go", "version", "-m", binary)) {
		if words := strings.Fields(line); len(words) >= 3 && words[0] == "dep" {
			want = append(want, words[1]+" "+words[2])
		}
	}
	var got []string
	for _, c := range document.Components {
		got = append(got, c.Name+" "+c.Version)
	}
	if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("it lists\n%s\nthe binary has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func sum(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))
}
