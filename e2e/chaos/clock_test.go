package chaos

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// clockJumps has keeper and server see another time of day, and back, while
// their children go on. The machine's clock stays as it is.
func clockJumps(t *testing.T, c *trial) {
	if runtime.GOARCH != "amd64" {
		c.skip(t, "another clock is written for amd64 only")
	}
	const children = 6
	files := patiently(children)
	for i := range 2 {
		files[fmt.Sprintf("%s-%d", repeated, i)] = "command: [" + world.workload + ", run, -live]\nrepeat: {action: restart, seconds: 1}\n"
	}
	in := c.newInstance(t, "mode: full\n", files)
	in.serve(t)
	w := in.watch(t, c)
	<-time.After(time.Second)
	const year = 365 * 24 * time.Hour
	jumps := []time.Duration{year, -time.Hour, 0, time.Hour, 0, -year, 0, year, 0}
	m := in.beCalm(t)
	for i := range c.count {
		jump := jumps[i%len(jumps)]
		for _, pid := range []int{m.keeper, m.server} {
			must(t, shiftClock(pid, jump))
		}
		if at, now := in.clock(t), time.Now().Add(jump); at.Sub(now).Abs() > time.Minute {
			t.Fatalf("the server's clock shows %v instead of %v", at, now)
		}
		w.resumes(t)
		<-time.After(c.lasting(4*time.Second, 0))
	}
	m.judge(t, in, c, children+2)
	c.measure("by another clock_gettime in the vDSO of keeper and server")
	w.finish(t)
}

// clock is what the server takes the time to be: that of a command.
func (in *instance) clock(t *testing.T) time.Time {
	t.Helper()
	name := repeated + "-0"
	if status, no, err := in.do("restart", name, patience); err != nil || status != 200 {
		t.Fatalf("restart: %d %s %v", status, no.Detail, err)
	}
	v, err := in.child(name)
	must(t, err)
	return v.Desired.At
}

// shiftClock makes a process see a time of day that is off by jump. The
// functions of the vDSO are private copies as soon as they are written to, so
// nobody else is concerned, and its children get the kernel's when they execute
// something. Other clocks than CLOCK_REALTIME stay right.
func shiftClock(pid int, jump time.Duration) error {
	at, size, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	image := make([]byte, size)
	if _, err := mem.ReadAt(image, at); err != nil {
		return err
	}
	offset, err := symbol(image, "__vdso_clock_gettime")
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return err
	}
	defer func() { _ = unix.Kill(pid, unix.SIGCONT) }()
	if !poll(patience, nil, func() bool {
		rest, err := outside(pid, at, at+size)
		if err == nil && !rest {
			// A thread is in the function that is about to change.
			_ = unix.Kill(pid, unix.SIGCONT)
			_ = unix.Kill(pid, unix.SIGSTOP)
		}
		return rest
	}) {
		return fmt.Errorf("PID %d does not stop outside of the vDSO", pid)
	}
	_, err = mem.WriteAt(clockGettime(jump), at+offset)
	return err
}

// clockGettime is a function for amd64: clock_gettime(2) with seconds added to
// CLOCK_REALTIME, which is number 0.
func clockGettime(jump time.Duration) []byte {
	code := []byte{
		0xb8, 0xe4, 0, 0, 0, // mov eax, 228
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 13, // jne the return
		0x48, 0xb9, // mov rcx, the seconds
	}
	code = binary.LittleEndian.AppendUint64(code, uint64(int64(jump/time.Second)))
	return append(code,
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // ret
	)
}

// vdso is where the kernel has mapped its functions into a process.
func vdso(pid int) (at, size int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var end int64
		if strings.HasSuffix(lines.Text(), "[vdso]") {
			if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &at, &end); err != nil {
				return 0, 0, err
			}
			return at, end - at, nil
		}
	}
	return 0, 0, errors.New("no vDSO is mapped")
}

func symbol(image []byte, name string) (int64, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == name {
			return int64(s.Value), nil
		}
	}
	return 0, fmt.Errorf("the vDSO has no %s", name)
}

// outside tells whether every thread has stopped, and none between from and to.
func outside(pid int, from, to int64) (bool, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return false, err
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(filepath.Join(task, "stat"))
		if err != nil {
			return false, err
		}
		_, after, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" "))
		if after[0] != 'T' {
			return false, errors.New("not stopped yet")
		}
		// The last field is the program counter, see proc_pid_syscall(5).
		call, err := os.ReadFile(filepath.Join(task, "syscall"))
		if err != nil {
			return false, err
		}
		fields := strings.Fields(string(call))
		pc, err := strconv.ParseInt(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
		if err != nil {
			return false, fmt.Errorf("%s: %q", task, call)
		}
		if pc >= from && pc < to {
			return false, nil
		}
	}
	return len(tasks) > 0, nil
}
