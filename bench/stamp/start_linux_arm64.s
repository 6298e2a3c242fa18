#include "textflag.h"

// The numbers are those of the kernel's include/uapi/asm-generic/unistd.h.
#define SYS_openat 56
#define SYS_close 57
#define SYS_write 64
#define SYS_ppoll 73
#define SYS_exit_group 94
#define SYS_clock_gettime 113
#define SYS_getpid 172

#define CLOCK_MONOTONIC 1
#define AT_FDCWD -100
// O_WRONLY|O_APPEND|O_CLOEXEC
#define FLAGS 0x80401

// func start()
TEXT ·start(SB),NOSPLIT|NOFRAME,$0
	MOVD RSP, R19 // argc, argv[0], argv[1]
	SUB $64, R19, R20 // the record
	MOVD R20, RSP

	MOVD $CLOCK_MONOTONIC, R0
	MOVD R20, R1
	MOVD $SYS_clock_gettime, R8
	SVC

	MOVD $SYS_getpid, R8
	SVC
	MOVD R0, 16(R20)

	MOVD $AT_FDCWD, R0
	MOVD 16(R19), R1
	MOVD $FLAGS, R2
	MOVD $0, R3
	MOVD $SYS_openat, R8
	SVC
	TBNZ $63, R0, fail
	MOVD R0, R21

	MOVD R20, R1
	MOVD $24, R2
	MOVD $SYS_write, R8
	SVC
	CMP $24, R0
	BNE fail

	MOVD R21, R0
	MOVD $SYS_close, R8
	SVC

wait:
	// The machine has no pause(2): poll nothing, without a timeout.
	MOVD $0, R0
	MOVD $0, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $SYS_ppoll, R8
	SVC
	B wait

fail:
	MOVD $111, R0
	MOVD $SYS_exit_group, R8
	SVC
	B fail
