package chaos

// exact is what most faults have to leave as it is.
const exact = "0 doubles, 0 lost, 0 wrong exit codes, 0 orders lost, answers within 1 s"

// faults are the rows of the table, in its order.
func faults() []fault {
	return []fault{
		{name: "kill -9 server", pass: exact, full: 1000, short: 8, run: killServer},
		{name: "kill -9 server and keeper", pass: "0 child deaths, 0 doubles; what cannot be known is unknown", full: 200, short: 4, run: killBoth},
	}
}
