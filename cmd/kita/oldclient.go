package main

import (
	"context"
	"fmt"
	"strings"

	"kita/control"
	"kita/control/fleet"
	"kita/spec"
)

const oldClientHelp = `use: supervisor-rs-client COMMAND [CHILD] [on HOSTS] [with KEY]

  start CHILD      start a child that does not run
  restart CHILD    stop and start a child that runs
  stop CHILD|all   stop a child, or all
  trystart CHILD   start a child, after a stop if it runs
  check [CHILD]    show the children that run
  info             show what the server says of itself
  kill             stop all children and end the server
  help             show this

KEY is an RSA private key; the server knows its public half by the same name.
This is kita speaking the old protocol; ` + "`kita`" + ` itself says more, see ` + "`kita help`" + `.
`

// oldClient is supervisor-rs-client: the old protocol, its answers printed as
// they come.
func (p *program) oldClient(args []string) error {
	if len(args) == 0 || args[0] == "--help" {
		return p.oldHelp()
	}
	words, err := control.ParseWords(args)
	if err != nil {
		return &usageError{err}
	}
	if words.Verb == spec.VerbHelp {
		return p.oldHelp()
	}
	hosts, err := fleet.ParseHosts(words.Hosts)
	if err != nil {
		return &usageError{err}
	}
	for _, h := range hosts {
		if h.SSH {
			return usagef("%s is asked through its sshd, which this program cannot do: use `kita %s`", h, strings.Join(args, " "))
		}
	}
	r := request{verb: words.Verb, child: words.Child, hosts: hosts, timeout: defaultTimeout, key: words.Key, keys: newKeychain(p.oldPassphrases().of)}
	if err := r.checkOldChild(); err != nil {
		return err
	}
	return p.withKeys(context.Background(), r, func(ctx context.Context) error { return p.oldAsk(ctx, r) })
}

// oldPassphrases knows that this program has neither flags nor the ssh-agent,
// which cannot sign the old packets.
func (p *program) oldPassphrases() *passphrases {
	questions := newPassphrases("", p.screen)
	questions.remedy = "use `kita COMMAND --legacy --key-passphrase-file FILE`, or a key without one"
	return questions
}

func (p *program) oldHelp() error {
	_, err := fmt.Fprint(p.out, oldClientHelp)
	return err
}

// oldAsk sends one request to every host, and prints the answers as the client
// of supervisor-rs does.
func (p *program) oldAsk(ctx context.Context, r request) error {
	results := fleet.Each(ctx, r.hosts, r.limits(), func(ctx context.Context, h fleet.Host) (string, error) {
		return p.exchangeOld(ctx, r, h)
	})
	status := exitOK
	for _, result := range results {
		if result.Err != nil {
			status = worst(status, exitStatus(result.Err))
			p.complainOf("", result.Err)
			continue
		}
		// Its scripts know nothing of a child that does not run.
		if !oldSuccess(r.verb, r.child, result.Value) {
			status = worst(status, exitFailed)
		}
		if err := writeOldAnswer(p.out, result.Host, result.Value); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return withStatus(status)
}
