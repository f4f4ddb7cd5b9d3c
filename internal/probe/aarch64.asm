// The probe for aarch64-linux, GNU assembler. Its argument is the path to write to.
	.globl _start
_start:
	ldr	x19, [sp, #16]		// argv[1]
	sub	sp, sp, #4096
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
	// getcwd(buf + 16 + 390, 1024)
	add	x0, sp, #406
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
	// write(fd, buf, 406 + length)
	mov	x1, sp
	add	x2, x20, #406
	mov	x8, #64
	svc	#0
	// exit(wrote less than that)
	cmp	x0, #406
	cset	x0, le
	mov	x8, #93
	svc	#0
