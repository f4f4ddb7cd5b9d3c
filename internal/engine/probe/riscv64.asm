	.option	norelax
	.option	norvc
	.set	PRLIMIT64, 261
	.set	UNAME, 160
	.set	SCHED_GETAFFINITY, 123
	.set	READLINKAT, 78
	.set	FCHMODAT, 53
	.set	OPENAT, 56
	.set	GETCWD, 17
	.set	WRITE, 64
	.set	EXIT, 93
	.set	CREATE, 0x241
	.macro	start
	ld	s0, 16(sp)
	ld	s1, 24(sp)
	li	t0, 8192
	sub	sp, sp, t0
	.endm
	.macro	imm n, v
	li	a\n, \v
	.endm
	.macro	exe n
	li	a\n, 0x400078
	.endm
	.macro	buf n, o
	li	t0, \o
	add	a\n, sp, t0
	.endm
	.macro	output n
	mv	a\n, s0
	.endm
	.macro	input n
	mv	a\n, s1
	.endm
	.macro	sys v
	li	a7, \v
	ecall
	.endm
	.macro	save o
	li	t0, \o
	add	t0, sp, t0
	sd	a0, 0(t0)
	.endm
	.macro	keep
	mv	s2, a0
	.endm
	.macro	length n
	li	t0, 2480
	add	a\n, s2, t0
	.endm
	.macro	finish
	li	t0, 2481
	sub	a0, a0, t0
	srli	a0, a0, 63
	.endm
	.include "probe.asm"
