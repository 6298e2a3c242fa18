package main

import "os"

func main() {
	enter()
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}
