package metrics

import "kita/spec"

// eventFamilies are those of what was counted.
func (m *Metrics) eventFamilies() []*family {
	return []*family{
		{"kita_reconcile_duration_seconds", histogram, "How long a pass over one child took, its action included.",
			func(p *page, _ *reading) { m.passes.write(p) }},
		{"kita_stale_facts_total", counter, "Facts dropped because they were about a former process of their child.",
			func(p *page, s *reading) { p.value(float64(s.staleFacts)) }},
		{"kita_child_exits_total", counter,
			"Processes of the child that ended; the code is empty when a signal ended it, and unknown when nobody could learn the status.", writeExits},
		{"kita_child_failures_total", counter, "Processes of the child whose end did not count as success.",
			func(p *page, s *reading) {
				writeCounts(p, s, func(c counted) uint64 { return c.failures })
			}},
		{"kita_child_oom_kills_total", counter, "Processes of the child that ended because memory ran out.",
			func(p *page, s *reading) {
				writeCounts(p, s, func(c counted) uint64 { return c.oomKills })
			}},
		{"kita_child_restarts_total", counter, "Starts of the child after it had run under this server, by what caused them.", writeRestarts},
		{"kita_hooks_total", counter, "Hooks that ran, by kind and result.", func(p *page, _ *reading) {
			for _, hook := range m.hooks.all(0) {
				p.value(float64(hook.n), label("kind", hook.of[0]), ",", label("result", hook.of[1]))
			}
		}},
		{"kita_commands_total", counter, "Commands answered, by verb and result.", func(p *page, _ *reading) {
			for _, command := range m.commands.all(1) {
				p.value(float64(command.n), label("result", command.of[1]), ",", label("verb", command.of[0]))
			}
		}},
	}
}

func writeExits(p *page, s *reading) {
	for _, c := range s.counts {
		for _, e := range c.exits {
			p.value(float64(e.n), c.label, ",", label("code", e.code), ",", label("signal", e.signal))
		}
	}
}

// writeCounts says a count of each child that was seen to begin, or to which it
// happened.
func writeCounts(p *page, s *reading, count func(counted) uint64) {
	for _, c := range s.counts {
		if n := count(c.counted); n > 0 || c.begun {
			p.value(float64(n), c.label)
		}
	}
}

func writeRestarts(p *page, s *reading) {
	for i, cause := range causes {
		for _, c := range s.counts {
			if c.restarts[i] > 0 || c.begun && cause == string(spec.CausePolicy) {
				p.value(float64(c.restarts[i]), `cause="`, cause, `",`, c.label)
			}
		}
	}
}

// serverFamilies are those of the server as a whole.
func (m *Metrics) serverFamilies() []*family {
	o := m.o
	families := []*family{{"kita_build_info", gauge, "Always 1; the labels say which kita this is.", func(p *page, _ *reading) {
		p.value(1, label("goversion", o.GoVersion), ",", label("revision", o.Revision), ",", label("version", o.Version))
	}}}
	add := func(there bool, name string, kind kind, help string, value func() float64) {
		if there {
			families = append(families, &family{name, kind, help, func(p *page, _ *reading) { p.value(value()) }})
		}
	}
	add(o.QueueDepth != nil, "kita_queue_depth", gauge, "Children that wait for a pass.", func() float64 { return float64(o.QueueDepth()) })
	add(o.ConfigErrors != nil, "kita_config_errors", gauge, "Configuration files that are not valid now.", func() float64 { return float64(o.ConfigErrors()) })
	add(o.StoreErr != nil, "kita_state_write_error", gauge, "1 when the last write of state failed, 0 otherwise.", func() float64 { return boolean(o.StoreErr() != nil) })
	add(o.EventsLost != nil, "kita_events_lost_total", counter, "Events of the history that could not be written.", func() float64 { return float64(o.EventsLost()) })
	add(o.Keeper != nil, "kita_keeper_up", gauge, "1 while the process that restarts the server lives, 0 otherwise.", func() float64 { return boolean(o.Keeper()) })
	add(o.Outputs != nil, "kita_output_disk_used_bytes", gauge, "What all output files and their archives take on disk.", func() float64 { return float64(o.Outputs.Used()) })
	add(o.Outputs != nil, "kita_output_disk_budget_bytes", gauge, "The most they may take (disk_budget), 0 for no limit.", func() float64 { return float64(o.Outputs.Budget()) })
	add(o.Connections != nil, "kita_connections", gauge, "Connections of clients that are open.", func() float64 { return float64(o.Connections().Open) })
	if o.Connections != nil {
		families = append(families, &family{"kita_connections_refused_total", counter,
			"Connections refused at a cap (full), for a newer one while they said nothing (displaced), without an admitted key (key).",
			func(p *page, _ *reading) {
				c := o.Connections()
				p.value(float64(c.Displaced), `reason="displaced"`)
				p.value(float64(c.Full), `reason="full"`)
				p.value(float64(c.Unadmitted), `reason="key"`)
			}})
	}
	return families
}
