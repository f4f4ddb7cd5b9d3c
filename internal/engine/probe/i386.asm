	.set	a0, %ebx
	.set	a1, %ecx
	.set	a2, %edx
	.set	a3, %esi
	.set	PRLIMIT64, 340
	.set	UNAME, 122
	.set	SCHED_GETAFFINITY, 242
	.set	READLINKAT, 305
	.set	FCHMODAT, 306
	.set	OPENAT, 295
	.set	GETCWD, 183
	.set	WRITE, 4
	.set	EXIT, 1
	.set	CREATE, 0x241
	.macro	start
	mov	8(%esp), %ebp
	mov	12(%esp), %edi
	sub	$8192, %esp
	.endm
	.macro	imm n, v
	mov	$\v, a\n
	.endm
	.macro	exe n
	mov	$0x400054, a\n
	.endm
	.macro	buf n, o
	lea	\o(%esp), a\n
	.endm
	.macro	output n
	mov	%ebp, a\n
	.endm
	.macro	input n
	mov	%edi, a\n
	.endm
	.macro	sys v
	mov	$\v, %eax
	int	$0x80
	mov	%eax, a0
	.endm
	.macro	save o
	mov	a0, \o(%esp)
	mov	a0, %eax
	sar	$31, %eax
	mov	%eax, \o+4(%esp)
	.endm
	.macro	keep
	mov	a0, %edi		/* input is not needed any more */
	.endm
	.macro	length n
	lea	2480(%edi), a\n
	.endm
	.macro	finish
	sub	$2481, a0
	shr	$31, a0
	.endm
	.include "probe.asm"
