	.arch	armv5te
	.syntax	unified
	.arm
	.set	PRLIMIT64, 369
	.set	UNAME, 122
	.set	SCHED_GETAFFINITY, 242
	.set	READLINKAT, 332
	.set	FCHMODAT, 333
	.set	OPENAT, 322
	.set	GETCWD, 183
	.set	WRITE, 4
	.set	EXIT, 1
	.set	CREATE, 0x241
	.macro	start
	ldr	r4, [sp, #8]
	ldr	r5, [sp, #12]
	sub	sp, sp, #8192
	.endm
	.macro	imm n, v
	ldr	r\n, =\v
	.endm
	.macro	exe n
	ldr	r\n, =0x400054
	.endm
	.macro	buf n, o
	ldr	r\n, =\o
	add	r\n, sp, r\n
	.endm
	.macro	output n
	mov	r\n, r4
	.endm
	.macro	input n
	mov	r\n, r5
	.endm
	.macro	sys v
	ldr	r7, =\v
	svc	#0
	.endm
	.macro	save o
	ldr	r8, =\o
	add	r8, sp, r8
	asr	r9, r0, #31
	str	r0, [r8]
	str	r9, [r8, #4]
	.endm
	.macro	keep
	mov	r6, r0
	.endm
	.macro	length n
	ldr	r\n, =2480
	add	r\n, r6, r\n
	.endm
	.macro	finish
	ldr	r1, =2481
	sub	r0, r0, r1
	lsr	r0, r0, #31
	.endm
	.include "probe.asm"
