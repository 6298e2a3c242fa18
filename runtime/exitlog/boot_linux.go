package exitlog

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// firstNamespace is the PID namespace of the machine itself; the number is
// PROC_PID_INIT_INO of include/linux/proc_ns.h.
const firstNamespace = "pid:[4026531836]"

// Boot identifies the boot of the machine that Records are of, or of the
// container: what runs in a PID namespace ends with it, and the next one begins
// with other processes of the same numbers. It is boot_id of random(4), and in a
// namespace also the start time of its PID 1.
func Boot() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns == firstNamespace {
		return id, nil
	}
	stat, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return id, nil // hidden: the boot has to do
	}
	// Field 22; the second, a name in parentheses, may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return id, nil
	}
	return id + "." + string(fields[19]), nil
}
