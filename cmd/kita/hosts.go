package main

import (
	"kita/control/fleet"
)

// choose says which hosts are meant by the words after `on`.
func (r *request) choose(named []string, hostsFile string) error {
	hosts, err := fleet.ParseHosts(named)
	if err != nil {
		return &usageError{err}
	}
	r.hosts, r.many = hosts, len(hosts) > 1
	return nil
}
