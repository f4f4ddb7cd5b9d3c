	.set	a0, %rdi
	.set	a1, %rsi
	.set	a2, %rdx
	.set	a3, %r10
	.set	PRLIMIT64, 302
	.set	UNAME, 63
	.set	SCHED_GETAFFINITY, 204
	.set	READLINKAT, 267
	.set	FCHMODAT, 268
	.set	OPENAT, 257
	.set	GETCWD, 79
	.set	WRITE, 1
	.set	EXIT, 60
	.set	CREATE, 0x241
	.macro	start
	mov	16(%rsp), %r12
	mov	24(%rsp), %r14
	sub	$8192, %rsp
	.endm
	.macro	imm n, v
	mov	$\v, a\n
	.endm
	.macro	exe n
	mov	$0x400078, a\n
	.endm
	.macro	buf n, o
	lea	\o(%rsp), a\n
	.endm
	.macro	output n
	mov	%r12, a\n
	.endm
	.macro	input n
	mov	%r14, a\n
	.endm
	.macro	sys v
	mov	$\v, %eax
	syscall
	mov	%rax, a0
	.endm
	.macro	save o
	mov	a0, \o(%rsp)
	.endm
	.macro	keep
	mov	a0, %r13
	.endm
	.macro	length n
	lea	2480(%r13), a\n
	.endm
	.macro	finish
	sub	$2481, a0
	shr	$63, a0
	.endm
	.include "probe.asm"
