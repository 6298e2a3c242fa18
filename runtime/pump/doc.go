// Package pump writes lines with time stamps, prefixes or as JSON for the
// streams that ask for it.
package pump
