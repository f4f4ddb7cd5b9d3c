	.set	PRLIMIT64, 5297
	.set	UNAME, 5061
	.set	SCHED_GETAFFINITY, 5196
	.set	READLINKAT, 5257
	.set	FCHMODAT, 5258
	.set	OPENAT, 5247
	.set	GETCWD, 5077
	.set	WRITE, 5001
	.set	EXIT, 5058
	.set	CREATE, 0x301
	.macro	start
	ld	$16, 16($29)
	ld	$17, 24($29)
	daddiu	$29, $29, -8192
	.endm
	.macro	imm n, v
	li	$a\n, \v
	.endm
	.macro	exe n
	lui	$a\n, 0x40
	ori	$a\n, $a\n, 0x78
	.endm
	.macro	buf n, o
	daddiu	$a\n, $29, \o
	.endm
	.macro	output n
	move	$a\n, $16
	.endm
	.macro	input n
	move	$a\n, $17
	.endm
	.macro	sys v
	li	$v0, \v
	syscall
	beqz	$a3, 1f
	negu	$v0, $v0
1:
	move	$a0, $v0
	.endm
	.macro	save o
	sd	$a0, \o($29)
	.endm
	.macro	keep
	move	$18, $a0
	.endm
	.macro	length n
	daddiu	$a\n, $18, 2480
	.endm
	.macro	finish
	daddiu	$a0, $a0, -2481
	dsrl32	$a0, $a0, 31
	.endm
	.include "probe.asm"
