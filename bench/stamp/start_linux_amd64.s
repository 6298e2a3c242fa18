#include "textflag.h"

// The numbers are those of the kernel's arch/x86/entry/syscalls/syscall_64.tbl.
#define SYS_write 1
#define SYS_open 2
#define SYS_close 3
#define SYS_pause 34
#define SYS_getpid 39
#define SYS_clock_gettime 228
#define SYS_exit_group 231

#define CLOCK_MONOTONIC 1
// O_WRONLY|O_APPEND|O_CLOEXEC
#define FLAGS 0x80401

// func start()
TEXT ·start(SB),NOSPLIT|NOFRAME,$0
	MOVQ SP, R12 // argc, argv[0], argv[1]
	LEAQ -64(R12), R13 // the record
	MOVQ R13, SP

	MOVL $CLOCK_MONOTONIC, DI
	MOVQ R13, SI
	MOVL $SYS_clock_gettime, AX
	SYSCALL

	MOVL $SYS_getpid, AX
	SYSCALL
	MOVQ AX, 16(R13)

	MOVQ 16(R12), DI
	MOVL $FLAGS, SI
	XORL DX, DX
	MOVL $SYS_open, AX
	SYSCALL
	TESTQ AX, AX
	JLT fail
	MOVQ AX, R14

	MOVQ R14, DI
	MOVQ R13, SI
	MOVL $24, DX
	MOVL $SYS_write, AX
	SYSCALL
	CMPQ AX, $24
	JNE fail

	MOVQ R14, DI
	MOVL $SYS_close, AX
	SYSCALL

wait:
	MOVL $SYS_pause, AX
	SYSCALL
	JMP wait

fail:
	MOVL $111, DI
	MOVL $SYS_exit_group, AX
	SYSCALL
	JMP fail
