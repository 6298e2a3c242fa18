package main

import "kita/runtime"

// enter comes before everything else: as the launch shim or the pump this process
// never returns from it.
func enter() {
	forgoProfile()
	runtime.Main()
}
