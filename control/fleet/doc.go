// Package fleet is about asking many hosts: a Book, which is a user's hosts.yml,
// turns the words after `on` into hosts; Stream and Each ask them side by side.
//
// cmd/kita calls it for both client command lines. It opens no connection
// itself: what is asked is the caller's function. One host's failure or
// slowness never costs another its answer, unless a failure is to stop the
// rest. A word that means nobody is an error, so that no command goes to fewer
// hosts than were named.
package fleet
