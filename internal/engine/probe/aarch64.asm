// The probe for aarch64-linux, GNU assembler. Its arguments are the path to write to, and one of its inputs.
	.globl _start
_start:
	ldp	x19, x21, [sp, #16]	// argv[1], argv[2]
	sub	sp, sp, #8192
	// prlimit64(0, RLIMIT_MEMLOCK, NULL, buf)
	mov	x0, #0
	mov	x1, #8
	mov	x2, #0
	mov	x3, sp
	mov	x8, #261
	svc	#0
	// uname(buf + 16)
	add	x0, sp, #16
	mov	x8, #160
	svc	#0
	// sched_getaffinity(0, 1024, buf + 416), its result at buf + 408
	mov	x0, #0
	mov	x1, #1024
	add	x2, sp, #416
	mov	x8, #123
	svc	#0
	str	x0, [sp, #408]
	// readlinkat(AT_FDCWD, "/proc/./self/exe", buf + 1448, 1024), its result at buf + 1440
	mov	x0, #-100
	adr	x1, exe
	add	x2, sp, #1448
	mov	x3, #1024
	mov	x8, #78
	svc	#0
	str	x0, [sp, #1440]
	// fchmodat(AT_FDCWD, argv[2], 0644)
	mov	x0, #-100
	mov	x1, x21
	mov	x2, #0644
	mov	x8, #53
	svc	#0
	// openat(AT_FDCWD, argv[2], O_WRONLY), its result at buf + 2472: the input stays as it is
	mov	x0, #-100
	mov	x1, x21
	mov	x2, #1
	mov	x8, #56
	svc	#0
	str	x0, [sp, #2472]
	// fchmodat(AT_FDCWD, argv[2], 0444)
	mov	x0, #-100
	mov	x1, x21
	mov	x2, #0444
	mov	x8, #53
	svc	#0
	// getcwd(buf + 2480, 1024)
	add	x0, sp, #2480
	mov	x1, #1024
	mov	x8, #17
	svc	#0
	mov	x20, x0			// length, with its final NUL
	// openat(AT_FDCWD, argv[1], O_CREAT|O_TRUNC|O_WRONLY, 0444)
	mov	x0, #-100
	mov	x1, x19
	mov	x2, #0x241
	mov	x3, #0444
	mov	x8, #56
	svc	#0
	// write(fd, buf, 2480 + length)
	mov	x1, sp
	add	x2, x20, #2480
	mov	x8, #64
	svc	#0
	// exit(wrote less than that)
	cmp	x0, #2480
	cset	x0, le
	mov	x8, #93
	svc	#0
exe:	.asciz	"/proc/./self/exe"
