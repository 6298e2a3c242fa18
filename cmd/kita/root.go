package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"kita/spec"
)

const rootLong = `kita looks after the long-running programs of a host.

'kita serve' is the server. The other commands ask one: that of this host, or
those named by 'on HOSTS'. The words may come in any order after the command:

  kita start web
  kita restart web on 10.0.0.1,10.0.0.2
  kita check web --on backup:1234 -o json
  kita restart web on @web --serial      (@web is a group of your hosts.yml)
  kita stop web on 10.0.0.1 with ops.pem
  kita logs web -f
  kita why web

With a private key a server is asked over SSH; KEY is its file, or agent:NAME for
one that the ssh-agent has. 'on ssh://user@host' goes through the host's own sshd.

Exit status: 0 all well, 1 refused or failed, 2 wrong use, 3 not running
(check NAME), 4 unreachable; of several hosts the worst. With --wait, and of wait
and diff, further ones tell the class of a failure: see kita wait --help.`

// verbCommand describes one command to a server.
type verbCommand struct {
	verb    spec.Verb
	use     string
	aliases []string
	short   string
	run     func(*program, context.Context, request) error
}

// whereWords are those that say whom to ask.
const whereWords = " [on HOSTS] [with KEY]"

// verbCommands has the spellings of spec.ParseVerb as aliases; where is how the
// use of each ends.
func verbCommands(where string) []verbCommand {
	return []verbCommand{
		{spec.VerbStart, "start CHILD|all" + where, []string{"Start"}, "start a child that does not run, or all such", (*program).change},
		{spec.VerbStop, "stop CHILD|all" + where, []string{"Stop"}, "stop a child, or all", (*program).change},
		{spec.VerbRestart, "restart CHILD|all" + where, []string{"Restart"}, "stop and start a child that runs, or all such, with its file as it is now", (*program).change},
		{spec.VerbTrystart, "trystart CHILD|all" + where, []string{"Trystart", "TryStart"}, "start a child, or all, after a stop if it runs", (*program).change},
		{spec.VerbCheck, "check [CHILD]" + where, []string{"Check"}, "show the children, or all about one", (*program).check},
		{spec.VerbInfo, "info" + where, []string{"Info", "INFO", "InFo"}, "show what the server says of itself", (*program).info},
		{spec.VerbKill, "kill" + where, []string{"Kill"}, "stop all children and end the server", (*program).kill},
	}
}

// rootCommand has the command that the words begin with, alone, where there is one:
// to make all the others takes longer than to ask a server.
func (p *program) rootCommand(words []string) *cobra.Command {
	root := p.bareRoot("kita COMMAND", rootLong)
	if len(words) > 0 {
		if c := p.commandNamed(words[0]); c != nil {
			root.CompletionOptions.DisableDefaultCmd = true
			root.AddCommand(c)
			return root
		}
	}
	for _, v := range verbCommands(whereWords) {
		root.AddCommand(p.verbCommand(v))
	}
	root.AddCommand(p.serveCommand(), p.validateCommand(), p.versionCommand())
	root.AddCommand(p.explainCommand(), p.schemaCommand(), p.initCommand())
	root.AddCommand(p.upgradeCommand(), p.upgradeCheckCommand(), p.proxyCommand())
	root.AddCommand(p.logsCommand(), p.rotateCommand())
	root.AddCommand(p.waitCommand(), p.diffCommand())
	root.AddCommand(p.topCommand(), p.sdCommand())
	root.AddCommand(p.whyCommand(), p.eventsCommand())
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultCompletionCmd()
	rejectExtraWords(root)
	return root
}

// commandNamed is the command of that name, or nil. Of those that are called often
// it knows all names.
func (p *program) commandNamed(name string) *cobra.Command {
	switch name {
	case "serve":
		return p.serveCommand()
	case "logs":
		return p.logsCommand()
	case "wait":
		return p.waitCommand()
	case "diff":
		return p.diffCommand()
	case "validate":
		return p.validateCommand()
	case "why":
		return p.whyCommand()
	}
	for _, v := range verbCommands(whereWords) {
		if name == string(v.verb) || slices.Contains(v.aliases, name) {
			return p.verbCommand(v)
		}
	}
	return nil
}

// bareRoot is a root without commands.
func (p *program) bareRoot(use, long string) *cobra.Command {
	root := &cobra.Command{
		Use: use, Short: "a process supervisor", Long: long,
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Args: cobra.ArbitraryArgs,
		RunE: unknownCommand,
	}
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w, see `%s --help`", err, c.CommandPath())
	})
	return root
}

func (p *program) verbCommand(v verbCommand) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use: v.use, Aliases: v.aliases, Short: v.short, Long: verbLong(v.verb),
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := p.request(v.verb, args, f)
			if err != nil {
				return err
			}
			do := v.run
			switch {
			case f.watch && f.exitCode:
				return usagef("--exit-code cannot be combined with --watch, which ends when you end it")
			case f.legacy && f.exitCode:
				return usagef("--exit-code cannot be combined with --legacy: the protocol of supervisor-rs does not tell why a child is not alive")
			case f.watch:
				do, r.lines = (*program).watch, true
			}
			r.exitCode = f.exitCode
			if f.legacy {
				if err := r.checkLegacy(f); err != nil {
					return err
				}
				if f.watch {
					return usagef("--watch cannot be combined with --legacy: the protocol of supervisor-rs tells of no changes")
				}
				do = (*program).speakOld
			}
			return p.withKeys(c.Context(), r, func(ctx context.Context) error { return do(p, ctx, r) })
		},
	}
	p.registerFlags(&f, c, v.verb)
	if v.verb == spec.VerbCheck {
		c.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on, and show what changes, until Ctrl-C")
		c.Flags().BoolVar(&f.exitCode, "exit-code", false, "status 6 where a child has failed, 7 where a file is wrong")
	}
	if p.through == nil {
		c.Flags().BoolVar(&f.legacy, "legacy", false, "speak the protocol of supervisor-rs, with a KEY its replayable packets")
	}
	c.ValidArgsFunction = p.completeWords(v.verb, &f)
	return c
}

// unknownCommand is what becomes of `kita` without a command that exists.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("which command? see `kita help`")
	}
	hint := "see `kita help`"
	// What is alike takes megabytes to find out for a word of 64 KiB, which anybody
	// with a key can send.
	const longest = 32
	if len(args[0]) <= longest {
		near := slices.DeleteFunc(root.SuggestionsFor(args[0]), func(name string) bool { return !isAlike(args[0], name) })
		if len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
	}
	return usagef("%.100q is no command, %s", args[0], hint)
}

// isAlike: the name begins with the word, or they have more than a letter in common.
// Two words of three letters are never further apart than cobra takes for near.
func isAlike(word, name string) bool {
	word, common := strings.ToLower(word), 0
	if strings.HasPrefix(name, word) {
		return true
	}
	for _, letter := range name {
		if at := strings.IndexRune(word, letter); at >= 0 {
			word, common = word[:at]+word[at+utf8.RuneLen(letter):], common+1
		}
	}
	return common > 1
}

// helpCommand is cobra's, also in the spelling of supervisor-rs, which took
// and ignored further words.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Aliases: []string{"Help"}, Short: "explain a command",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, sub := range root.Commands() {
				if len(args) == 0 && sub.IsAvailableCommand() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "on" || args[0] == "On" || args[0] == "with" || args[0] == "With" {
				return root.Help()
			}
			c, _, err := root.Find(args)
			if err != nil || c == root {
				return unknownCommand(root, args)
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}

// rejectExtraWords makes wrong words of the commands cobra adds wrong use.
func rejectExtraWords(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short, c.Long = "write the completion script of a shell", completionLong
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is no shell, give bash, zsh, fish or powershell", args[0])
			}
			return usagef("for which shell? give bash, zsh, fish or powershell")
		}
		for _, shell := range c.Commands() {
			shell.Args = maxWords(0)
			// Of the package's own making, and no use to anybody with these scripts.
			if f := shell.Flags().Lookup("no-descriptions"); f != nil {
				f.Hidden = true
			}
			shell.Short, shell.Long = "write the completion script of "+shell.Name(), completionOf(shell.Name())
		}
	}
}

// maxWords refuses more than n words.
func maxWords(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%q is one word too many, the use is `%s`", args[n], strings.TrimSpace(fmt.Sprintf("%s %s", parentPath(c), c.Use)))
		}
		return nil
	}
}

func parentPath(c *cobra.Command) string {
	if c.Parent() == nil {
		return ""
	}
	return c.Parent().CommandPath()
}
