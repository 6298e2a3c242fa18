package metrics

import (
	"bytes"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ticks is USER_HZ, the clock of /proc/PID/stat: 100 on every architecture that Go
// has.
const ticks = 100

// processFamilies are those of the server's own process, named and explained as
// the Prometheus client library for Go does. What /proc does not tell is left out.
func processFamilies() []*family {
	ofStat := func(name string, kind kind, help string, value func(stat []string) float64) *family {
		return &family{"process_" + name, kind, help, func(p *page, s *reading) {
			if stat := s.processStat(); stat != nil {
				p.value(value(stat))
			}
		}}
	}
	limit := func(name, help string, resource int) *family {
		return &family{"process_" + name, gauge, help, func(p *page, _ *reading) {
			var l syscall.Rlimit
			if syscall.Getrlimit(resource, &l) == nil {
				p.value(float64(l.Cur))
			}
		}}
	}
	return []*family{
		// The numbers are those of the fields in proc_pid_stat(5).
		ofStat("cpu_seconds_total", counter, "Total user and system CPU time spent in seconds.", func(f []string) float64 { return (number(f, 14) + number(f, 15)) / ticks }),
		ofStat("virtual_memory_bytes", gauge, "Virtual memory size in bytes.", func(f []string) float64 { return number(f, 23) }),
		ofStat("resident_memory_bytes", gauge, "Resident memory size in bytes.", func(f []string) float64 { return number(f, 24) * float64(os.Getpagesize()) }),
		{"process_start_time_seconds", gauge, "Start time of the process since unix epoch in seconds.", func(p *page, s *reading) {
			boot, ok := fieldAfter("/proc/stat", "btime")
			if stat := s.processStat(); ok && stat != nil {
				p.value(boot + number(stat, 22)/ticks)
			}
		}},
		limit("max_fds", "Maximum number of open file descriptors.", syscall.RLIMIT_NOFILE),
		limit("virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.", syscall.RLIMIT_AS),
		{"process_open_fds", gauge, "Number of open file descriptors.", func(p *page, _ *reading) {
			if dir, err := os.Open("/proc/self/fd"); err == nil {
				names, err := dir.Readdirnames(-1)
				_ = dir.Close()
				if err == nil {
					p.value(float64(len(names)))
				}
			}
		}},
		traffic("process_network_receive_bytes_total", "Number of bytes received by the process over the network.", "InOctets"),
		traffic("process_network_transmit_bytes_total", "Number of bytes sent by the process over the network.", "OutOctets"),
	}
}

// processStat has the fields of /proc/self/stat by number less 1, read once a
// scrape; nil where there is none.
func (s *reading) processStat() []string {
	if s.stat == nil {
		text, err := os.ReadFile("/proc/self/stat")
		// The second field is a name that can hold anything, in parentheses.
		end := bytes.LastIndexByte(text, ')')
		if err != nil || end < 0 {
			return nil
		}
		s.stat = append([]string{"", ""}, strings.Fields(string(text[end+1:]))...)
	}
	return s.stat
}

func number(fields []string, n int) float64 {
	if n > len(fields) {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(fields[n-1], 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// fieldAfter is the number in a line of a file that begins with word.
func fieldAfter(path, word string) (float64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == word {
			v, err := strconv.ParseFloat(f[1], 64)
			return v, err == nil
		}
	}
	return 0, false
}

// traffic is a counter of the network name space, of all processes in it.
func traffic(name, help, column string) *family {
	return &family{name, counter, help, func(p *page, _ *reading) {
		text, err := os.ReadFile("/proc/self/net/netstat")
		if err != nil {
			return
		}
		var titles []string
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) == 0 || f[0] != "IpExt:" {
				continue
			}
			if titles == nil {
				titles = f
				continue
			}
			for i, title := range titles {
				if title == column && i < len(f) {
					p.value(number(f, i+1))
				}
			}
		}
	}}
}
