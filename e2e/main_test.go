package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// world is what all tests share; TestMain makes it and nothing changes it.
var world struct {
	// root holds every file of this run. Its path is short because the path of
	// a unix socket below it must fit into 107 bytes.
	root string
	// bin has kita and the links by which it is called as supervisor-rs.
	bin string
	// module is the root of the source.
	module string
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	root, err := os.MkdirTemp("/tmp", "ke")
	if err != nil {
		return 0, err
	}
	defer func() {
		if os.Getenv("KITA_E2E_KEEP") != "" {
			fmt.Fprintln(os.Stderr, "e2e: kept", root)
			return
		}
		os.RemoveAll(root)
	}()
	// A child that runs as another user must be able to look for its file here.
	if err := os.Chmod(root, 0o711); err != nil {
		return 0, err
	}
	world.root, world.bin = root, filepath.Join(root, "bin")
	if world.module, err = filepath.Abs(".."); err != nil {
		return 0, err
	}
	if err := build(); err != nil {
		return 0, err
	}
	// The scripts mostly wait, so more of them than there are processors run
	// side by side.
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set("6"); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}

// build makes the binary as it is released.
func build() error {
	kita := filepath.Join(world.bin, "kita")
	cmd := exec.Command("go", "build", "-trimpath", "-o", kita, "./cmd/kita")
	cmd.Dir = world.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build kita: %w\n%s", err, out)
	}
	for _, name := range []string{"supervisor-rs-server", "supervisor-rs-client"} {
		if err := os.Symlink("kita", filepath.Join(world.bin, name)); err != nil {
			return err
		}
	}
	return nil
}
