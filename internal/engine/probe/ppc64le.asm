	.set	PRLIMIT64, 325
	.set	UNAME, 122
	.set	SCHED_GETAFFINITY, 223
	.set	READLINKAT, 296
	.set	FCHMODAT, 297
	.set	OPENAT, 286
	.set	GETCWD, 182
	.set	WRITE, 4
	.set	EXIT, 1
	.set	CREATE, 0x241
	.macro	start
	ld	14, 16(1)
	ld	15, 24(1)
	addi	1, 1, -8192
	.endm
	.macro	imm n, v
	li	\n+3, \v
	.endm
	.macro	exe n
	lis	\n+3, 0x40
	ori	\n+3, \n+3, 0x78
	.endm
	.macro	buf n, o
	addi	\n+3, 1, \o
	.endm
	.macro	output n
	mr	\n+3, 14
	.endm
	.macro	input n
	mr	\n+3, 15
	.endm
	.macro	sys v
	li	0, \v
	sc
	bns+	1f
	neg	3, 3
1:
	.endm
	.macro	save o
	std	3, \o(1)
	.endm
	.macro	keep
	mr	16, 3
	.endm
	.macro	length n
	addi	\n+3, 16, 2480
	.endm
	.macro	finish
	addi	3, 3, -2481
	srdi	3, 3, 63
	.endm
	.include "probe.asm"
