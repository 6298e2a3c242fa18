// Command line is a bare Go process that prints one line: the floor of what a
// command of kita may take.
package main

import "os"

func main() {
	_, _ = os.Stdout.WriteString("web running\n")
}
