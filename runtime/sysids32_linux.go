//go:build 386 || arm

package runtime

import "golang.org/x/sys/unix"

// The calls without 32 take ids of 16 bits on these.
const (
	sysSetgroups = unix.SYS_SETGROUPS32
	sysSetgid    = unix.SYS_SETGID32
	sysSetuid    = unix.SYS_SETUID32
)
