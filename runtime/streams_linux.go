package runtime

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"kita/runtime/output"
	"kita/runtime/pump"
	"kita/spec"
)

// streams are the descriptors a process gets as 0, 1 and 2.
type streams struct {
	fds    [3]int
	opened []int
	files  *output.Prepared
	// outs are the files, for the Launch.
	outs []spec.Output
	// discard takes back what was made for a pump; nil once there is a process.
	discard []func()
}

// streamNames are those of descriptors 1 and 2.
var streamNames = []spec.StreamName{spec.Out, spec.Err}

// close gives back what the process has inherited by now, and what was made for
// one that there is not.
func (s *streams) close() {
	for _, undo := range s.discard {
		undo()
	}
	for _, fd := range s.opened {
		unix.Close(fd)
	}
	if s.files != nil {
		s.files.Close()
	}
	s.opened, s.files, s.discard = nil, nil, nil
}

// openStreams opens what c's streams go to. A stream that is not set is the
// server's own.
func (h *Host) openStreams(c *spec.Child, incarnation uint64, as *account) (*streams, error) {
	s := &streams{fds: [3]int{0, 1, 2}}
	if err := s.open(h, run{c.Name, incarnation}, c, as); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *streams) open(h *Host, r run, c *spec.Child, as *account) error {
	for fd := range s.fds {
		if err := s.inherit(fd); err != nil {
			return err
		}
	}
	var err error
	if s.files, err = h.outputs.prepare(c, as); err != nil {
		return err
	}
	s.outs = s.files.Outputs()
	for i, name := range streamNames {
		fd := s.files.FD(name)
		if fd < 0 {
			continue
		}
		s.fds[i+1] = fd
		if stream := c.Stream(name); stream.Format != "" {
			if err := s.pump(h.outputs.pump, r.key(name), stream, as); err != nil {
				return fmt.Errorf("pump %s: %w", stream.Path, err)
			}
		}
	}
	return nil
}

// pump has a stream go through the pump: the process writes to a FIFO, the pump
// to the file.
func (s *streams) pump(client *pump.Client, k pump.Key, stream *spec.Stream, as *account) error {
	if client == nil {
		return errNoPump
	}
	file, err := duplicate(s.files.FD(k.Stream), stream.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	uid, gid := -1, -1
	if cred := as.credential(); cred != nil {
		uid, gid = int(cred.Uid), int(cred.Gid)
	}
	fd, path, err := client.MakeFIFO(k, uid, gid)
	if err != nil {
		return err
	}
	s.opened = append(s.opened, fd)
	s.discard = append(s.discard, func() { client.Discard(k) })
	s.fds[fdOf(k.Stream)] = fd
	for i := range s.outs {
		if slices.Contains(s.outs[i].Streams, k.Stream) {
			s.outs[i].FIFOs = withFIFO(s.outs[i].FIFOs, k.Stream, path)
		}
	}
	return client.Attach(k, pumped(stream, path, file))
}

func withFIFO(fifos map[spec.StreamName]string, name spec.StreamName, path string) map[spec.StreamName]string {
	if fifos == nil {
		fifos = map[spec.StreamName]string{}
	}
	fifos[name] = path
	return fifos
}

// pumped is a stream as its pump wants to know it.
func pumped(stream *spec.Stream, fifo string, file *os.File) pump.Stream {
	return pump.Stream{
		FIFO: fifo, Dest: file,
		Format: stream.Format, Timestamps: stream.Timestamps, Prefix: stream.Prefix, OnFull: stream.OnFull,
	}
}

func fdOf(name spec.StreamName) int { return slices.Index(streamNames, name) + 1 }

// duplicate is another descriptor of an open file, as a file of its own.
func duplicate(fd int, name string) (*os.File, error) {
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: name, Err: err}
	}
	return os.NewFile(uintptr(other), name), nil
}

// inherit makes sure that the server has a descriptor fd to pass on, and
// passes /dev/null on where it has not.
func (s *streams) inherit(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		return nil
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	}
	s.opened = append(s.opened, null)
	s.fds[fd] = null
	return nil
}
