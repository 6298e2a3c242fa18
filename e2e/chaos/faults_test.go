package chaos

// exact is what most faults have to leave as it is.
const exact = "0 doubles, 0 lost, 0 wrong exit codes, 0 orders lost, answers within 1 s"

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
		fault{name: "broken new binary", pass: "the old one answers again within 5 s", full: 20, short: 9, run: upgradeToBroken},
		fault{name: "SIGKILL during state writes", pass: "nothing unreadable, no acknowledged command lost", full: 1500, short: 20, run: killDuringWrites},
	)
}
