// Package controltest has the fake of control.Service, for the tests of the
// packages that speak to one.
package controltest
