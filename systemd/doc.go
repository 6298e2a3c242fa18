// Package systemd speaks with a service manager that started this program: it
// takes what the manager left in the environment out of it, so that no process
// started from here has it, tells the manager how the program is (sd_notify(3)),
// and finds the sockets that the manager listens on for it (sd_listen_fds(3)).
//
// Whoever is the service's main process uses it: the keeper, or a server without
// one. A Manager that nobody started is nil, and its methods do nothing.
package systemd
