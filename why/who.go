package why

import "kita/spec"

// asked is a command in the past tense, with who gave it.
func asked(verb spec.Verb, by, host string) string {
	done := map[spec.Verb]string{
		spec.VerbStart: "started", spec.VerbStop: "stopped", spec.VerbRestart: "restarted", spec.VerbTrystart: "started anew",
	}[verb]
	if done == "" {
		done = string(verb)
	}
	return done + " by " + spec.Who(by, host)
}
