package main

import (
	"time"

	"github.com/spf13/cobra"

	"kita/control"
	"kita/control/fleet"
	"kita/control/keyring"
	"kita/control/sshhost"
	"kita/spec"
)

// defaultTimeout is what one host has for a command; a stop may take the
// grace of a child and a restart that of its hooks too.
const defaultTimeout = time.Minute

// format is how a result is written.
type format string

const (
	formatText format = ""
	formatWide format = "wide"
	formatJSON format = "json"
	formatYAML format = "yaml"
)

// flags are those that every command to a server has.
type flags struct {
	on, with []string
	output   string
	timeout  time.Duration
	noWait   bool
	wait     condition
	// ifChanged belongs to trystart.
	ifChanged bool
	socket    string
	// passphraseFile, hostKeyChecking and legacy belong to with.
	passphraseFile  string
	hostKeyChecking string
	legacy          bool
	// hostsFile is where hosts.yml is, fan is how many hosts are asked.
	hostsFile string
	// watch and exitCode belong to check.
	watch, exitCode bool
	fan             fanFlags
}

// The names of flags that are looked at by name.
const (
	passphraseFlag = "key-passphrase-file"
	checkingFlag   = "host-key-checking"
	hostsFileFlag  = "hosts-file"
	socketFlag     = "socket"
	waitFlag       = "wait"
	ifChangedFlag  = "if-changed"
	timeoutFlag    = "timeout"
)

// isGiven tells whether the flag is on the command line.
func (f flags) isGiven(name string) bool { return f.fan.given != nil && f.fan.given(name) }

// registerFlags gives c the flags of a command to a server. Who came over SSH has
// no say in whom to ask, and nothing is completed there: package cobra never
// forgets a completion.
func (p *program) registerFlags(f *flags, c *cobra.Command, verb spec.Verb) {
	f.registerAnswer(c, verb)
	if p.through == nil {
		f.registerPlace(c, verb)
	}
}

// registerAnswer is for what is waited for, and how it is shown.
func (f *flags) registerAnswer(c *cobra.Command, verb spec.Verb) {
	set := c.Flags()
	formats := "json or yaml"
	if verb == spec.VerbCheck {
		formats = "json, yaml or wide"
	}
	set.StringVarP(&f.output, "output", "o", "", formats)
	f.timeout = defaultTimeout
	set.Var(lengthValue{&f.timeout}, timeoutFlag, "how long each host may take")
	f.fan.given = set.Changed
	if verb.Changes() {
		set.BoolVar(&f.noWait, "no-wait", false, "return once the wish is written, before it is fulfilled")
	}
	if verb.Changes() && verb != spec.VerbStop {
		set.Var(conditionValue{&f.wait, commandAims}, waitFlag, "what the child has to come to: `running`, stable=10s, exited or exited=CODE; see kita wait --help for the exit status")
	}
	if verb == spec.VerbTrystart {
		set.BoolVar(&f.ifChanged, ifChangedFlag, false, "leave alone what runs, or has run to its successful end, with what its file says now; of all also what was stopped")
	}
}

// registerPlace is for whom to ask, and how.
func (f *flags) registerPlace(c *cobra.Command, verb spec.Verb) {
	set := c.Flags()
	set.StringArrayVar(&f.on, "on", nil, "`HOSTS` to ask, separated by commas; like the words 'on HOSTS'")
	set.StringArrayVar(&f.with, "with", nil, "private `KEY` for encrypted connections, a file or agent:NAME; like the words 'with KEY'")
	set.StringVar(&f.passphraseFile, passphraseFlag, "", "`FILE` whose first line is the passphrase of the key, instead of asking for it")
	set.StringVar(&f.hostKeyChecking, checkingFlag, "", "a server that is not known yet: `strict` refuses it, accept-new shows and remembers its key (default accept-new, and with ssh:// what ~/.ssh/config says)")
	set.StringVar(&f.socket, socketFlag, "", "unix socket of the local server (default $KITA_SOCKET, or kita.sock in its run directory)")
	f.registerFan(c)
	if verb.Changes() {
		f.registerRolling(c)
	}
	_ = c.RegisterFlagCompletionFunc("output", completeFormats)
	if c.Flags().Lookup(waitFlag) != nil {
		_ = c.RegisterFlagCompletionFunc(waitFlag, completeConditions(commandAims))
	}
	_ = c.RegisterFlagCompletionFunc(checkingFlag, cobra.FixedCompletions([]string{string(acceptNew), string(strict)}, cobra.ShellCompDirectiveNoFileComp))
}

// request is a client's command line, understood.
type request struct {
	verb  spec.Verb
	child string
	hosts []fleet.Host
	// many: several hosts are meant, even if it came to one.
	many bool
	// parallel is how many of them are asked at once; rolling: the first
	// failure stops the rest.
	parallel int
	rolling  bool
	socket   string // of the local server; empty when hosts are asked over TCP
	format   format
	timeout  time.Duration
	noWait   bool
	// wait is what a child is to come to, ifChanged spares those that have not
	// changed.
	wait      condition
	ifChanged bool
	// exitCode: the status of a check is that of the worst child.
	exitCode bool
	// classed: the exit status tells the class of a failure.
	classed bool
	// lines: the answers are a stream, in JSON an object a line.
	lines bool
	// key is the private key of `with`, a file or agent:NAME; empty for none.
	key string
	// keys are the private keys of all hosts, hostKeys the servers that the
	// user knows.
	keys     *keychain
	hostKeys *keyring.KnownHosts
	// ssh logs in to the hosts of ssh://.
	ssh *sshhost.Dialer
}

// request reads the words of a command and its flags, which say the same
// things and may be mixed. All errors are wrong use.
func (p *program) request(verb spec.Verb, args []string, f flags) (request, error) {
	words, err := control.ParseWords(append([]string{string(verb)}, args...))
	if err != nil {
		return request{}, &usageError{err}
	}
	return p.understand(verb, words, f)
}

// serverRequest is request for a command that is no verb and takes no child.
func (p *program) serverRequest(args []string, f flags) (request, error) {
	words, err := control.ParsePlace(args)
	if err != nil {
		return request{}, &usageError{err}
	}
	return p.understand("", words, f)
}

// understand checks words and flags together.
func (p *program) understand(verb spec.Verb, words control.Words, f flags) (request, error) {
	r := request{verb: verb, child: words.Child, format: format(f.output), timeout: f.timeout, noWait: f.noWait,
		wait: f.wait, ifChanged: f.ifChanged, classed: f.wait.given()}
	switch r.format {
	case formatText, formatWide, formatJSON, formatYAML:
	default:
		return request{}, usagef("-o %s: give json, yaml or wide", f.output)
	}
	if f.timeout <= 0 {
		return request{}, usagef("--timeout %v: it must be longer than nothing", f.timeout)
	}
	if f.wait.given() {
		if f.noWait {
			return request{}, usagef("--wait %v and --no-wait contradict each other, give one of them", f.wait)
		}
		var err error
		if r.timeout, err = f.wait.bound(f.timeout, f.isGiven(timeoutFlag)); err != nil {
			return request{}, err
		}
	}
	if p.through != nil {
		return p.remoteRequest(r, words)
	}
	if err := p.keysOf(&r, words.Key, f); err != nil {
		return request{}, err
	}
	if err := f.fan.apply(&r); err != nil {
		return request{}, err
	}
	if err := p.route(&r, append(words.Hosts, f.on...), f); err != nil {
		return request{}, err
	}
	return r, r.checkKeyFlags(f)
}

// route says whom to ask.
func (p *program) route(r *request, named []string, f flags) error {
	socket := f.socket
	switch {
	case len(named) > 0 && socket != "":
		return usagef("--socket is for the server of this host, it cannot be combined with `on`")
	case r.key != "" && socket != "":
		return usagef("--socket needs no key, it cannot be combined with `with`")
	}
	for _, hosts := range named {
		if hosts == "" {
			return usagef("--on: no host is given")
		}
	}
	if err := r.choose(named, f.hostsFile); err != nil {
		return err
	}
	// With a key, or in the old protocol, the server of this host is asked over
	// its port, where that means something.
	if len(named) > 0 || r.key != "" || f.legacy {
		return nil
	}
	if socket != "" {
		r.socket = socket
		return nil
	}
	path, asked := p.defaultSocket()
	if asked || isSocket(path) {
		r.socket = path
	}
	return nil
}
