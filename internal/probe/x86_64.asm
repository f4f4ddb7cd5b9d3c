# The probe for x86_64-linux, GNU assembler. Its argument is the path to write to.
	.globl _start
_start:
	mov	16(%rsp), %r12		# argv[1]
	sub	$4096, %rsp
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
	# getcwd(buf + 16 + 390, 1024)
	lea	406(%rsp), %rdi
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
	# write(fd, buf, 406 + length)
	mov	%eax, %edi
	mov	%rsp, %rsi
	lea	406(%r13), %edx
	mov	$1, %eax
	syscall
	# exit(wrote less than that)
	xor	%edi, %edi
	cmp	$406, %eax
	setle	%dil
	mov	$60, %eax
	syscall
