package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// instanceKey is the key of the script's *instance in its values.
type instanceKey struct{}

func TestScripts(t *testing.T) {
	t.Parallel()
	// Its own directory, so that a script's name is the only long part of the
	// path of its socket.
	root, err := os.MkdirTemp(world.root, "s")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		WorkdirRoot:        root,
		Setup:              setUp,
		Cmds:               commands(),
		Condition:          condition,
		RequireUniqueNames: true,
	})
}

// setUp gives a script its server.yml and its environment. A server.yml in the
// script is completed, one that is missing is made; each *.yml beside it has
// $WORK and $ADDR filled in, the files of children are left alone.
func setUp(env *testscript.Env) error {
	in := newInstance(env.WorkDir)
	env.Values[instanceKey{}] = in
	t := env.T().(testing.TB)
	env.Defer(func() {
		if err := in.cleanUp(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server's log:\n%s", in.logTail())
		}
	})
	env.Vars = append(env.Vars, in.env...)
	env.Setenv("BIN", world.bin)
	if err := os.MkdirAll(in.path("children"), 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob(in.path("*.yml"))
	if err != nil {
		return err
	}
	for _, file := range append(files, in.path("server.yml")) {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		full := in.complete(expand(string(text), env.Getenv))
		if err := os.WriteFile(file, []byte(full), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// condition knows what a host may lack.
func condition(name string) (bool, error) {
	switch name {
	case "ipv6":
		listener, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			return false, nil
		}
		return true, listener.Close()
	case "root":
		return os.Geteuid() == 0, nil
	case "sandbox":
		return canSandbox(), nil
	case "cgroups":
		return canLimit(), nil
	case "namespaces":
		return exec.Command("unshare", "-Urmn", "true").Run() == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// expand fills in the $NAMEs that getenv knows and leaves every other dollar.
func expand(text string, getenv func(string) string) string {
	return os.Expand(text, func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return "$" + name
	})
}

func script(ts *testscript.TestScript) *instance {
	return ts.Value(instanceKey{}).(*instance)
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// noNeg refuses the ! that a command has no meaning for.
func noNeg(ts *testscript.TestScript, neg bool, command string) {
	if neg {
		ts.Fatalf("! %s makes no sense", command)
	}
}

// unescape resolves \n, \t, \0 and \xNN in a word of a script.
func unescape(ts *testscript.TestScript, word string) string {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] != '\\' || i+1 == len(word) {
			b.WriteByte(word[i])
			continue
		}
		i++
		switch word[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '0':
			b.WriteByte(0)
		case '\\':
			b.WriteByte('\\')
		case 'x':
			c, ok := hexByte(word[i+1:])
			if !ok {
				ts.Fatalf("%q: \\x needs two digits", word)
			}
			b.WriteByte(c)
			i += 2
		default:
			ts.Fatalf("%q: unknown escape \\%c", word, word[i])
		}
	}
	return b.String()
}

func hexByte(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	const digits = "0123456789abcdef"
	high, low := strings.IndexByte(digits, s[0]), strings.IndexByte(digits, s[1])
	return byte(high<<4 | low), high >= 0 && low >= 0
}
