package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// mostSkips bounds the commands of all pages that no test runs.
const mostSkips = 12

// TestDocs carries out the pages: every command of every block of shell, from
// top to bottom, on a machine of the page's own; and checks every whole file in
// them. What a page needs besides is in comments that its readers do not see,
// see docspage_test.go.
func TestDocs(t *testing.T) {
	t.Parallel()
	needSandbox(t)
	files, err := filepath.Glob(filepath.Join(world.module, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, filepath.Join(world.module, "README.md"))
	skips := 0
	for _, file := range files {
		p := mustReadPage(t, file)
		for _, s := range p.steps {
			for _, d := range s.directives {
				if d.verb == "skip" {
					skips++
					t.Logf("%s:%d: not run: %s", p.name, d.line, d.arg)
				}
			}
		}
		if len(p.steps) == 0 {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, err := range runPage(t.Context(), t.TempDir(), p) {
				t.Error(err)
			}
		})
	}
	if skips > mostSkips {
		t.Errorf("%d commands are not run, want %d at the most", skips, mostSkips)
	}
}

// needSandbox skips a test where no sandbox can be made; the machine that
// decides can.
func needSandbox(t *testing.T) {
	t.Helper()
	if canSandbox() {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("a sandbox takes root and namespaces")
	}
	t.Skip("a sandbox takes root and namespaces")
}

// canSandbox: root may lack the right, as in a container.
func canSandbox() bool {
	return os.Geteuid() == 0 && exec.Command("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "true").Run() == nil
}

func mustReadPage(t *testing.T, file string) *page {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name, err := filepath.Rel(world.module, file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parsePage(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runner carries out one page.
type runner struct {
	*sandbox
	page *page
	// background has what goes on until the page ends.
	background []*running
}

type running struct {
	*program
	command shellCommand
}

// runPage has what is wrong with a page. It goes on after a file, and stops at
// the first command that does not do what the page says.
func runPage(ctx context.Context, dir string, p *page) []error {
	b, err := newSandbox(dir)
	if err != nil {
		return []error{err}
	}
	defer b.close()
	r := &runner{sandbox: b, page: p}
	var wrong []error
	for _, s := range p.steps {
		var err error
		switch s.kind {
		case stepSetup:
			err = r.run(ctx, shellCommand{s.line, s.text}, nil)
		case stepShell:
			err = r.shell(ctx, s)
		case stepYAML:
			err = r.file(ctx, s)
		}
		if err != nil {
			wrong = append(wrong, err)
			if s.kind != stepYAML {
				return wrong
			}
		}
		for _, d := range s.directives {
			if !d.used && s.kind != stepOther {
				wrong = append(wrong, fmt.Errorf("%s: nothing of the next block is meant by %v", p.name, d))
			}
		}
	}
	return append(wrong, r.fallen()...)
}

// fallen has what was to go on and has failed.
func (r *runner) fallen() []error {
	var wrong []error
	for _, b := range r.background {
		if status, ended := b.ended(); ended && status != 0 {
			wrong = append(wrong, fmt.Errorf("%s:%d: %s\nit ended with status %d\n%s", r.page.name, b.command.line, b.command.text, status, b.text()))
		}
	}
	return wrong
}

func (r *runner) shell(ctx context.Context, s *step) error {
	all, err := s.commandsOf()
	if err != nil {
		return fmt.Errorf("%s: %w", r.page.name, err)
	}
	for _, c := range all {
		if err := r.run(ctx, c, s.of(c.text)); err != nil {
			return err
		}
	}
	return nil
}

// run carries out a command and sees whether it does what it should.
func (r *runner) run(ctx context.Context, c shellCommand, directives []*directive) error {
	value := map[string]string{"status": "0", "as": "root"}
	has := map[string]bool{}
	var says []string
	for _, d := range directives {
		value[d.verb], has[d.verb] = d.arg, true
		if d.verb == "says" {
			says = append(says, d.arg)
		}
	}
	if has["skip"] {
		return nil
	}
	p, err := r.start(c.text, value["as"], has["terminal"])
	if err == nil {
		err = r.follow(ctx, p, c, value, has, says)
	}
	if err != nil {
		wrote := ""
		if p != nil {
			wrote = p.text()
		}
		return fmt.Errorf("%s:%d: %s\n%w\n%s", r.page.name, c.line, c.text, err, wrote)
	}
	if has["then"] {
		return r.run(ctx, shellCommand{c.line, value["then"]}, []*directive{{verb: "as", arg: value["as"]}})
	}
	return nil
}

func (r *runner) follow(ctx context.Context, p *program, c shellCommand, value map[string]string, has map[string]bool, says []string) error {
	if has["until"] {
		if err := p.await(ctx, value["until"]); err != nil {
			p.kill()
			return err
		}
		p.interrupt()
	}
	if has["background"] {
		r.background = append(r.background, &running{p, c})
		for _, text := range says {
			if err := p.await(ctx, text); err != nil {
				return err
			}
		}
		return nil
	}
	status, err := p.wait(ctx)
	if err != nil {
		return err
	}
	if got := fmt.Sprint(status); got != value["status"] {
		return fmt.Errorf("its exit status is %s, want %s", got, value["status"])
	}
	for _, text := range says {
		if !strings.Contains(p.text(), text) {
			return fmt.Errorf("it does not write %q", text)
		}
	}
	return nil
}

// file puts a file into its place, where the page names one by an absolute path
// in the first line, and has it checked.
func (r *runner) file(ctx context.Context, s *step) error {
	name := ""
	if first, _, _ := strings.Cut(s.text, "\n"); strings.HasPrefix(first, "# ") {
		name, _, _ = strings.Cut(strings.TrimPrefix(first, "# "), " ")
	}
	for _, d := range s.directives {
		d.used = true
		switch d.verb {
		case "file":
			name = d.arg
		case "skip":
			return nil
		default:
			return fmt.Errorf("%s: %v: not of a file", r.page.name, d)
		}
	}
	if !regexp.MustCompile(`\.ya?ml$`).MatchString(name) {
		return fmt.Errorf("%s:%d: the block does not say what file it is", r.page.name, s.line)
	}
	if !filepath.IsAbs(name) {
		name = "/tmp/unplaced/" + name
	}
	const end = "END-OF-THE-BLOCK"
	text := fmt.Sprintf("mkdir -p %s\ncat >%s <<'%s'\n%s%s\n", filepath.Dir(name), name, end, s.text, end)
	switch filepath.Base(name) {
	case "prometheus.yml":
		text += "promtool check config --syntax-only " + name
	case "hosts.yml":
		text += "mkdir -p ~/keys; [[ -e ~/keys/ops.pem ]] || openssl genrsa -out ~/keys/ops.pem 2048\n" +
			"kita check on nobody.invalid --hosts-file " + name + " || [[ $? == 4 ]]"
	default:
		text += "kita validate " + name
	}
	return r.run(ctx, shellCommand{s.line, text}, nil)
}

// TestDocsAreSeenToBeWrong: a page that does not do what it says is found.
func TestDocsAreSeenToBeWrong(t *testing.T) {
	t.Parallel()
	needSandbox(t)
	block := func(lines string) string { return "```sh\n" + lines + "\n```\n" }
	tests := []struct{ name, text, want string }{
		{"good", "<!-- test: setup\nexport A=b; cd /srv\n-->\n" + block("[[ $A == b ]]   # still\n[[ $PWD == /srv ]]\ncat <<END |\nx\nEND\n  grep x"), ""},
		{"status", block("true\nfalse"), "page:3: false\nits exit status is 1, want 0"},
		{"status as said", "<!-- test: status 3 | exit -->\n" + block("exit 3"), ""},
		{"no such status", "<!-- test: status 3 | true -->\n" + block("true"), "its exit status is 0, want 3"},
		{"no such command", block("kita nonsense"), "its exit status is 2, want 0"},
		{"set-up", "<!-- test: setup\nfalse\n-->\n", "its exit status is 1, want 0"},
		{"says", "<!-- test: says \"b\" -->\n" + block("echo a"), `it does not write "b"`},
		{"until", "<!-- test: until \"b\" | echo -->\n" + block("echo a"), `it ended before it wrote "b"`},
		{"until as said", "<!-- test:\nuntil \"a\" | sh\nstatus 130\n-->\n" + block("sh -c 'echo a; exec sleep 1000'"), ""},
		{"directive of nothing", "<!-- test: status 3 | exit -->\n" + block("true"), "nothing of the next block is meant by"},
		{"user", "<!-- test: setup\nuseradd -m ann\n-->\n<!-- test: as ann -->\n" + block("[[ $(id -un) == ann && $PWD == /home/ann ]]\ncd /"), ""},
		{"terminal", "<!-- test: terminal -->\n" + block("test -t 0 -a -t 1"), ""},
		{"no terminal", block("test -t 1"), "its exit status is 1"},
		{"background", "<!-- test: background | sleep -->\n" + block("sleep 1000\ntrue"), ""},
		{"file", "```yaml\n# server.yml\nmode: ful\n```\n", "its exit status is 1, want 0"},
		{"child's file", "```yaml\n# web.yml\ncommand: true\n```\n", ""},
		{"child's file that is wrong", "```yaml\n# web.yml\ncomand: true\n```\n", "did you mean"},
		{"nameless file", "```yaml\ncommand: true\n```\n", "does not say what file it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := parsePage("page", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(runPage(t.Context(), t.TempDir(), p)...)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("the page gave %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestBackgroundThatFailsIsSeen(t *testing.T) {
	t.Parallel()
	needSandbox(t)
	b, err := newSandbox(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	r := &runner{sandbox: b, page: &page{name: "page"}}
	for _, text := range []string{"exit 0", "exit 4", "sleep 1000"} {
		if err := r.run(t.Context(), shellCommand{1, text}, []*directive{{verb: "background"}}); err != nil {
			t.Fatal(err)
		}
	}
	<-r.background[0].done
	<-r.background[1].done
	if got := r.fallen(); len(got) != 1 || !strings.Contains(got[0].Error(), "it ended with status 4") {
		t.Errorf("got %v", got)
	}
}

func TestPagesThatCannotBeRead(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no such directive", "<!-- test: wish x -->\n", `page:1: "wish" is no directive`},
		{"no argument", "<!-- test: status -->\n", "status with the argument"},
		{"directive of no block", "<!-- test: status 3 -->\n", "no block follows"},
		{"comment without end", "<!-- test: setup\ntrue\n", "the comment has no end"},
		{"block without end", "```sh\ntrue\n", "the block has no end"},
		{"commands without shell", "```\nkita check on web1\n```\n", "so that they are run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parsePage("page", tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	for _, text := range []string{"if true\n", "echo $(\n", "cat <<END\nx\n"} {
		if _, err := (&step{text: text}).commandsOf(); err == nil {
			t.Errorf("%q is split", text)
		}
	}
	all, err := (&step{line: 1, text: "a \\\n  b\n# c\n\nif d; then\n  e\nfi\ncat <<-'F' | g\n\th\n\tF\n"}).commandsOf()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range all {
		got = append(got, fmt.Sprint(c.line, ":", strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return '_'
			}
			return r
		}, c.text)))
	}
	const want = `1:a_\___b 5:if_d;_then___e_fi 8:cat_<<-'F'_|_g__h__F`
	if strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
}
