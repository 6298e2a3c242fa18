package main

import (
	"io"
	"strconv"
	"strings"

	"kita/spec"
)

// writeInfo prints what a server says of itself.
func (p *program) writeInfo(w io.Writer, i spec.Info, prefix string) error {
	var f fields
	f.add("version", i.Version)
	f.add("pid", strconv.Itoa(i.PID))
	keeper := "none, nobody starts this server again"
	if i.Keeper != 0 {
		keeper = "pid " + strconv.Itoa(i.Keeper)
	}
	f.add("keeper", keeper)
	f.add("started", instant(i.StartedAt, p.now()))
	config := i.ConfigFile
	if config == "" {
		config = "none, the defaults are in force"
	}
	f.add("config", config)
	f.add("mode", string(i.Mode))
	encrypt := "off"
	if i.Encrypt {
		encrypt = "on"
	}
	f.add("encrypt", encrypt)
	f.add("load paths", listText(i.LoadPaths))
	f.add("listeners", listText(i.Listeners))
	if len(i.Activated) > 0 {
		f.add("by systemd", listText(i.Activated))
	}
	if i.HostKey != "" {
		f.add("host key", i.HostKey)
	}
	f.add("state dir", i.StateDir)
	f.add("run dir", i.RunDir)
	if i.Containment != "" {
		f.add("containment", i.Containment)
	}
	f.add("running", listText(i.Running))
	for _, problem := range i.Problems {
		f = append(f, field{title: "problem", text: problem, colour: yellow})
	}
	return f.write(w, p, prefix)
}

func listText(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
