package main

import "kita/spec"

// verbLong is what --help and the manual say of a command to a server, with
// examples.
func verbLong(verb spec.Verb) string {
	switch verb {
	case spec.VerbStart:
		return `Start a child, or all that do not run. One that runs already is an error, but not
with 'all'.

  kita start web
  kita start all on @web

The wish is on disk before the command answers, so it survives a crash of the
server. It does not wait to see how the child fares: 'kita check web' tells.`
	case spec.VerbStop:
		return `Stop a child, or all. Every process of its group gets the stop signal, and KILL
when its grace is over; the command answers when none is left.

  kita stop web
  kita stop all on 10.0.0.1,10.0.0.2

A child that was stopped stays stopped, also when the server is restarted. One that has
failed does not run, and is left down. That 'stop all' finds nothing to stop is a
success.`
	case spec.VerbRestart:
		return `Stop a child that runs and start it with its file as it is now, or all that run.
One that does not run is an error: 'kita trystart' starts it as well.

  kita restart web
  kita restart web on @web --max-unavailable 2

With --serial or --max-unavailable the next host's turn comes when the child fares
well on the one before, and the first that fails ends it.`
	case spec.VerbTrystart:
		return `Start a child with its file as it is now, after a stop if it runs; or do so with
all.

  kita trystart web
  kita trystart web on h1 on h2 --serial
  kita trystart all --if-changed --wait stable=10s

With --if-changed a child is left alone that runs with what its file says now, or
that has ended with success and would be run again as it was; of 'all' also one that
was stopped by a command, which the answer names. One that failed, or was never
started, is started.`
	case spec.VerbCheck:
		return `Show the children of a server in a table, or all about one: its process, how it
ended before, its files, what is wrong with it.

  kita check
  kita check web on 10.0.0.1 with ops.pem
  kita check -o json
  kita check --exit-code        status 6 if a child has failed, 7 if a file is wrong

Exit status: 0 the child runs, or there is a table; 1 refused or failed; 2 wrong use;
3 the child does not run; 4 unreachable. With --exit-code also 6 where a child has
failed, waits in back-off or left processes, 7 where a file or the configuration of
the server is wrong. Of several hosts, or children, the worst.`
	case spec.VerbInfo:
		return `Show what the server says of itself: its version, processes, files, addresses and
directories, what holds the processes of a child together, and problems.

  kita info
  kita info on @all -o json`
	case spec.VerbKill:
		return `Stop all children, each within its grace, and end the server. What was wanted of
each child is not forgotten; what runs after the next start says the mode of
server.yml.

  kita kill

To end the server and leave the children running send it SIGTERM.`
	}
	return ""
}

const rotateLong = `Make an archive now of what the output files of a child hold, or of all children.

  kita rotate web
  kita rotate all on @web

A child whose output is not under rotation is refused; 'all' passes it over.`

const versionLong = `Show the version of this program, the commit that it was built from, and for which
system. That of a server is in 'kita info'.

  kita version`
