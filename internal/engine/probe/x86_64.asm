# The probe for x86_64-linux, GNU assembler. Its arguments are the path to write to, and one of its inputs.
	.globl _start
_start:
	mov	16(%rsp), %r12		# argv[1]
	mov	24(%rsp), %r14		# argv[2]
	sub	$8192, %rsp
	# prlimit64(0, RLIMIT_MEMLOCK, NULL, buf)
	xor	%edi, %edi
	mov	$8, %esi
	xor	%edx, %edx
	mov	%rsp, %r10
	mov	$302, %eax
	syscall
	# uname(buf + 16)
	lea	16(%rsp), %rdi
	mov	$63, %eax
	syscall
	# sched_getaffinity(0, 1024, buf + 416), its result at buf + 408
	xor	%edi, %edi
	mov	$1024, %esi
	lea	416(%rsp), %rdx
	mov	$204, %eax
	syscall
	mov	%rax, 408(%rsp)
	# readlink("/proc/./self/exe", buf + 1448, 1024), its result at buf + 1440
	lea	exe(%rip), %rdi
	lea	1448(%rsp), %rsi
	mov	$1024, %edx
	mov	$89, %eax
	syscall
	mov	%rax, 1440(%rsp)
	# chmod(argv[2], 0644)
	mov	%r14, %rdi
	mov	$0644, %esi
	mov	$90, %eax
	syscall
	# open(argv[2], O_WRONLY), its result at buf + 2472: the input stays as it is
	mov	%r14, %rdi
	mov	$1, %esi
	mov	$2, %eax
	syscall
	mov	%rax, 2472(%rsp)
	# chmod(argv[2], 0444)
	mov	%r14, %rdi
	mov	$0444, %esi
	mov	$90, %eax
	syscall
	# getcwd(buf + 2480, 1024)
	lea	2480(%rsp), %rdi
	mov	$1024, %esi
	mov	$79, %eax
	syscall
	mov	%eax, %r13d		# length, with its final NUL
	# open(argv[1], O_CREAT|O_TRUNC|O_WRONLY, 0444)
	mov	%r12, %rdi
	mov	$0x241, %esi
	mov	$0444, %edx
	mov	$2, %eax
	syscall
	# write(fd, buf, 2480 + length)
	mov	%eax, %edi
	mov	%rsp, %rsi
	lea	2480(%r13), %edx
	mov	$1, %eax
	syscall
	# exit(wrote less than that)
	xor	%edi, %edi
	cmp	$2480, %eax
	setle	%dil
	mov	$60, %eax
	syscall
exe:	.asciz	"/proc/./self/exe"
