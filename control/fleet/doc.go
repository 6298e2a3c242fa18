// Package fleet is about asking many hosts: ParseHosts reads the words after
// `on`, Each asks them side by side and keeps the answers in order.
//
// cmd/kita calls it for both client command lines. It opens no connection
// itself: what is asked is the caller's function. One host's failure or
// slowness never costs another its answer.
package fleet
