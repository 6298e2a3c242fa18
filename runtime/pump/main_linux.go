package pump

import "os"

// Name is the argv[0] by which a process knows that it is the pump.
const Name = "kita-pump"

// Main must be called at the start of main and of TestMain: if this process is
// the pump, it does that work and never returns.
func Main() {
	if len(os.Args) != 1 || os.Args[0] != Name {
		return
	}
	os.Exit(127)
}
