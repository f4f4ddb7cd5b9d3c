	.set	PRLIMIT64, 334
	.set	UNAME, 122
	.set	SCHED_GETAFFINITY, 240
	.set	READLINKAT, 298
	.set	FCHMODAT, 299
	.set	OPENAT, 288
	.set	GETCWD, 183
	.set	WRITE, 4
	.set	EXIT, 1
	.set	CREATE, 0x241
	.macro	start
	lg	8, 16(15)
	lg	9, 24(15)
	aghi	15, -8192
	.endm
	.macro	imm n, v
	lghi	\n+2, \v
	.endm
	.macro	exe n
	llilf	\n+2, 0x400078
	.endm
	.macro	buf n, o
	lay	\n+2, \o(15)
	.endm
	.macro	output n
	lgr	\n+2, 8
	.endm
	.macro	input n
	lgr	\n+2, 9
	.endm
	.macro	sys v
	lghi	1, \v
	svc	0
	.endm
	.macro	save o
	stg	2, \o(15)
	.endm
	.macro	keep
	lgr	10, 2
	.endm
	.macro	length n
	lay	\n+2, 2480(10)
	.endm
	.macro	finish
	aghi	2, -2481
	srlg	2, 2, 63
	.endm
	.include "probe.asm"
