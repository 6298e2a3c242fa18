package chaos

// exact is what most faults have to leave as it is.
const exact = "0 doubles, 0 lost, 0 wrong exit codes, 0 orders lost, answers within 1 s"

// survive is what a stop has to achieve.
const survive = "0 survivors with cgroups; without, an honest not fully killed"

// bearing is what kita has to do while it can do nothing.
const bearing = "no crash, no storm of restarts, CPU under 10 %, work resumes"

// faults are the rows of the table, in its order.
func faults() []fault {
	all := []fault{
		{name: "kill -9 server", pass: exact, full: 1000, short: 8, run: killServer},
		{name: "kill -9 server and keeper", pass: "0 child deaths, 0 doubles; what cannot be known is unknown", full: 200, short: 4, run: killBoth},
	}
	all = append(all, panics()...)
	return append(all,
		fault{name: "5,000 children adopted", pass: "under 1 s from server start", full: 5000, short: 200, run: adoptMany},
		fault{name: "upgrade, clients hammering", pass: exact + ", 0 client errors", full: 200, short: 6, run: upgrade},
		fault{name: "broken new binary", pass: "the old one answers again within 5 s", full: 20, short: 7, run: upgradeToBroken},
		fault{name: "child that setsids, double-forks and clears its environment", pass: survive, full: 100, short: 4, run: escapes},
		fault{name: "2,000-task fork bomb", pass: survive + "; under 2 s with cgroups", full: 5, short: 1, run: forkBomb},
		fault{name: "pids exhausted for 30 s", pass: bearing, full: 1, short: 1, run: noPIDs},
		fault{name: "EMFILE for 30 s", pass: bearing, full: 1, short: 1, run: noDescriptors},
		fault{name: "clock jumps of an hour and a year", pass: bearing, full: 18, short: 2, run: clockJumps},
		fault{name: "64 KiB state file system full for 60 s", pass: "nothing lost, recovers", full: 1, short: 1, run: fullDisk},
		fault{name: "PID 1: starts, with two orphans each", pass: "0 wrong exit codes, 0 zombies", full: 3000, short: 120, run: asInit},
		fault{name: "child stopped by SIGSTOP", pass: "stops after CONT", full: 50, short: 3, run: stopStopped},
		fault{name: "child with a dead main thread", pass: "running stays true", full: 10, short: 2, run: stopHeadless},
		fault{name: "child frozen in state D", pass: "stop pending, completes after the thaw", full: 20, short: 1, run: stopFrozen},
		fault{name: "SIGKILL during state writes", pass: "nothing unreadable, no acknowledged command lost", full: 1500, short: 20, run: killDuringWrites},
	)
}
