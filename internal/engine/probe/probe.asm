/* The probe, GNU assembler. Its arguments are the path to write to, and one of its inputs.
   MACHINE.asm has the system calls' numbers and these macros, in which N is the number of an argument of a system call:
     start     load argv[1] and argv[2], and make room for the buffer on the stack
     imm N V   argument N is the number V           exe N      the address of the text below
     buf N O   the address O of the buffer          output N   argv[1]           input N   argv[2]
     sys V     make the system call V: its result, negative for an error, is argument 0
     save O    write argument 0 to the buffer as 64 bits
     keep      keep argument 0 as the length        length N   2480 + the length
     finish    argument 0 is 1 if it was at most 2480, otherwise 0 */
	.ascii	"/proc/./self/exe\0\0\0\0"
	.globl	_start
_start:
	start
	/* prlimit64(0, RLIMIT_MEMLOCK, NULL, buf) */
	imm	0, 0
	imm	1, 8
	imm	2, 0
	buf	3, 0
	sys	PRLIMIT64
	/* uname(buf + 16) */
	buf	0, 16
	sys	UNAME
	/* sched_getaffinity(0, 1024, buf + 416), its result at buf + 408 */
	imm	0, 0
	imm	1, 1024
	buf	2, 416
	sys	SCHED_GETAFFINITY
	save	408
	/* readlinkat(AT_FDCWD, "/proc/./self/exe", buf + 1448, 1024), its result at buf + 1440 */
	imm	0, -100
	exe	1
	buf	2, 1448
	imm	3, 1024
	sys	READLINKAT
	save	1440
	/* fchmodat(AT_FDCWD, argv[2], 0644) */
	imm	0, -100
	input	1
	imm	2, 0x1a4
	sys	FCHMODAT
	/* openat(AT_FDCWD, argv[2], O_WRONLY), its result at buf + 2472: the input stays as it is */
	imm	0, -100
	input	1
	imm	2, 1
	sys	OPENAT
	save	2472
	/* fchmodat(AT_FDCWD, argv[2], 0444) */
	imm	0, -100
	input	1
	imm	2, 0x124
	sys	FCHMODAT
	/* getcwd(buf + 2480, 1024): the length has the final NUL */
	buf	0, 2480
	imm	1, 1024
	sys	GETCWD
	keep
	/* openat(AT_FDCWD, argv[1], O_CREAT|O_TRUNC|O_WRONLY, 0444) */
	imm	0, -100
	output	1
	imm	2, CREATE
	imm	3, 0x124
	sys	OPENAT
	/* write(fd, buf, 2480 + length) */
	buf	1, 0
	length	2
	sys	WRITE
	/* exit(wrote at most 2480) */
	finish
	sys	EXIT
