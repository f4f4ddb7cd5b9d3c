/*
 * kit is the one program everything in this stand-in for nixpkgs is built with:
 * a small shell, the file tools a build phase calls, and `elf`, which writes
 * executables for the machine that kit runs on.
 *
 * A Nix sandbox may be entirely empty, without even /bin/sh, and nothing may be
 * downloaded; so kit is static, uses no C library, and talks to the kernel only.
 * It is called as a multi-call binary: by its own name with an applet as first
 * argument, or through a link that has the applet's name.
 *
 * The shell is a subset of bash: what phases and hooks use, not more. Pipelines
 * behave as under `set -o pipefail`. Memory is never given back: every process
 * is short-lived.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

/* ------------------------------------------------------------ the kernel -- */

#if defined(__x86_64__)
enum {
	SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_nanosleep = 35, SYS_getpid = 39, SYS_clone = 56,
	SYS_execve = 59, SYS_wait4 = 61, SYS_kill = 62, SYS_fcntl = 72, SYS_getcwd = 79, SYS_chdir = 80, SYS_umask = 95,
	SYS_getdents64 = 217, SYS_exit_group = 231, SYS_openat = 257, SYS_mkdirat = 258, SYS_unlinkat = 263,
	SYS_renameat = 264, SYS_symlinkat = 266, SYS_readlinkat = 267, SYS_fchmodat = 268, SYS_dup3 = 292,
	SYS_pipe2 = 293, SYS_lseek = 8, SYS_getrandom = 318, SYS_memfd_create = 319, SYS_statx = 332,
};
#define MACHINE "x86_64"
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call kit_main\n");

static long sys(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum {
	SYS_getcwd = 17, SYS_dup3 = 24, SYS_fcntl = 25, SYS_mkdirat = 34, SYS_unlinkat = 35, SYS_symlinkat = 36,
	SYS_renameat = 38, SYS_chdir = 49, SYS_fchmodat = 53, SYS_openat = 56, SYS_close = 57, SYS_pipe2 = 59,
	SYS_getdents64 = 61, SYS_lseek = 62, SYS_read = 63, SYS_write = 64, SYS_readlinkat = 78, SYS_exit_group = 94,
	SYS_nanosleep = 101, SYS_kill = 129, SYS_umask = 166, SYS_getpid = 172, SYS_clone = 220, SYS_execve = 221,
	SYS_mmap = 222, SYS_wait4 = 260, SYS_getrandom = 278, SYS_memfd_create = 279, SYS_statx = 291,
};
#define MACHINE "aarch64"
__asm__(".globl _start\n_start: mov x0, sp\n bl kit_main\n");

static long sys(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
		      x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "kit knows x86_64 and aarch64 only"
#endif

#define SYS6(nr, a, b, c, d, e, f, ...) sys(SYS_##nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(nr, ...) SYS6(nr, __VA_ARGS__, 0, 0, 0, 0, 0, 0)

enum { CWD = -100, O_WRONLY = 1, O_CREAT = 0100, O_TRUNC = 01000, O_APPEND = 02000, O_CLOEXEC = 02000000 };
enum { ENOENT = 2, EACCES = 13, EEXIST = 17, ENOTDIR = 20, EISDIR = 21 };
enum { SIGCHLD = 17, S_IFMT = 0170000, S_IFDIR = 0040000, S_IFREG = 0100000, S_IFLNK = 0120000 };

static void die(int code)
{
	for (;;)
		CALL(exit_group, code);
}

/* ------------------------------------------------------- memory, strings -- */

/* The compiler may call these four by itself. */
void *memcpy(void *d, const void *s, u64 n) { for (u64 i = 0; i < n; i++) ((u8 *)d)[i] = ((const u8 *)s)[i]; return d; }
void *memset(void *d, int c, u64 n) { for (u64 i = 0; i < n; i++) ((u8 *)d)[i] = c; return d; }
void *memmove(void *d, const void *s, u64 n)
{
	if (d <= s)
		return memcpy(d, s, n);
	while (n--)
		((u8 *)d)[n] = ((const u8 *)s)[n];
	return d;
}
int memcmp(const void *a, const void *b, u64 n)
{
	for (u64 i = 0; i < n; i++)
		if (((const u8 *)a)[i] != ((const u8 *)b)[i])
			return ((const u8 *)a)[i] - ((const u8 *)b)[i];
	return 0;
}

static long len(const char *s) { long n = 0; while (s[n]) n++; return n; }
static int cmp(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return (u8)*a - (u8)*b; }
static int eq(const char *a, const char *b) { return !cmp(a, b); }
static const char *find(const char *s, int c) { for (; *s; s++) if (*s == c) return s; return 0; }
static int starts(const char *s, const char *prefix) { return !memcmp(s, prefix, len(prefix)); }
static int digit(int c) { return c >= '0' && c <= '9'; }
static int namechar(int c) { return digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static int blank(int c) { return c == ' ' || c == '\t' || c == '\n'; }

static long number(const char *s)
{
	long n = 0, neg = *s == '-';
	for (s += neg; digit(*s); s++)
		n = n * 10 + *s - '0';
	return neg ? -n : n;
}

static void *alloc(long n)
{
	static char *at, *end;
	n = (n + 15) & ~15L;
	if (end - at < n) {
		long size = n > 1 << 18 ? n : 1 << 18;
		at = (char *)CALL(mmap, 0, size, 3, 0x22, -1, 0);
		if ((u64)at > -4096UL)
			die(120);
		end = at + size;
	}
	at += n;
	return at - n;
}

struct buf { char *p; long n, cap; };

static void put(struct buf *b, const char *s, long n)
{
	if (b->n + n + 1 > b->cap) {
		char *old = b->p;
		b->cap = (b->n + n + 32) * 2;
		b->p = memcpy(alloc(b->cap), old, b->n);
	}
	memcpy(b->p + b->n, s, n);
	b->p[b->n += n] = 0;
}
static void putch(struct buf *b, int c) { char ch = c; put(b, &ch, 1); }
static void puts_(struct buf *b, const char *s) { put(b, s, len(s)); }
static void putnum(struct buf *b, long v)
{
	char tmp[24], *p = tmp + sizeof tmp;
	u64 u = v < 0 ? -(u64)v : (u64)v;
	do *--p = '0' + u % 10; while (u /= 10);
	if (v < 0)
		*--p = '-';
	put(b, p, tmp + sizeof tmp - p);
}

static char *copy(const char *s, long n) { char *d = memcpy(alloc(n + 1), s, n); d[n] = 0; return d; }
static char *join(const char *a, const char *b, const char *c)
{
	struct buf s = {0};
	puts_(&s, a), puts_(&s, b), puts_(&s, c);
	return s.p;
}
static char *decimal(long v) { struct buf b = {0}; putnum(&b, v); return b.p; }
static const char *basename(const char *s)
{
	const char *base = s;
	for (; *s; s++)
		if (*s == '/' && s[1])
			base = s + 1;
	return base;
}
static char *dirname(const char *s)
{
	long n = basename(s) - s;
	while (n > 1 && s[n - 1] == '/')
		n--;
	return n ? copy(s, n) : ".";
}

struct list { char **v; long n, cap; };

static void add(struct list *l, char *s)
{
	if (l->n + 2 > l->cap) {
		char **old = l->v;
		l->cap = l->n * 2 + 8;
		l->v = memcpy(alloc(l->cap * sizeof(char *)), old, l->n * sizeof(char *));
	}
	l->v[l->n++] = s;
	l->v[l->n] = 0;
}
static void sort(struct list *l)
{
	for (long i = 1; i < l->n; i++)
		for (long j = i; j && cmp(l->v[j - 1], l->v[j]) > 0; j--) {
			char *t = l->v[j];
			l->v[j] = l->v[j - 1], l->v[j - 1] = t;
		}
}

/* ----------------------------------------------------------------- files -- */

static void writeall(int fd, const char *s, long n)
{
	while (n > 0) {
		long w = CALL(write, fd, s, n);
		if (w <= 0)
			die(121);
		s += w, n -= w;
	}
}

static int complain(const char *who, const char *what, long err)
{
	struct buf b = {0};
	puts_(&b, who), puts_(&b, ": "), puts_(&b, what);
	if (err) {
		puts_(&b, ": ");
		switch (-err) {
		case ENOENT: puts_(&b, "No such file or directory"); break;
		case EACCES: puts_(&b, "Permission denied"); break;
		case EEXIST: puts_(&b, "File exists"); break;
		case ENOTDIR: puts_(&b, "Not a directory"); break;
		case EISDIR: puts_(&b, "Is a directory"); break;
		default: puts_(&b, "error "), putnum(&b, -err);
		}
	}
	putch(&b, '\n');
	writeall(2, b.p, b.n);
	return 1;
}

/* mode gives the file's type and permissions, 0 if it is not there. */
static int mode(const char *path, int follow)
{
	u8 st[256];
	if (CALL(statx, CWD, path, follow ? 0 : 0x100, 0x7ff, st) < 0)
		return 0;
	return *(u16 *)(st + 28);
}
static int isdir(const char *path) { return (mode(path, 1) & S_IFMT) == S_IFDIR; }

static long slurp(int fd, struct buf *b)
{
	char chunk[8192];
	for (long n; (n = CALL(read, fd, chunk, sizeof chunk)); put(b, chunk, n))
		if (n < 0)
			return n;
	put(b, "", 0);
	return 0;
}
static long slurpfile(const char *path, struct buf *b)
{
	long fd = CALL(openat, CWD, path, O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	long err = slurp(fd, b);
	CALL(close, fd);
	return err;
}
static long spill(const char *path, const char *s, long n, int perm)
{
	CALL(unlinkat, CWD, path, 0);
	long fd = CALL(openat, CWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fd;
	writeall(fd, s, n);
	CALL(close, fd);
	return CALL(fchmodat, CWD, path, perm);
}

static struct list entries(const char *dir)
{
	struct list l = {0};
	char *names = alloc(8192);
	long n, fd = CALL(openat, CWD, dir, O_CLOEXEC, 0);
	while (fd >= 0 && (n = CALL(getdents64, fd, names, 8192)) > 0)
		for (char *p = names; p < names + n; p += *(u16 *)(p + 16))
			if (!eq(p + 19, ".") && !eq(p + 19, ".."))
				add(&l, copy(p + 19, len(p + 19)));
	if (fd >= 0)
		CALL(close, fd);
	sort(&l);
	return l;
}

static long makedirs(const char *path)
{
	if (isdir(path))
		return 0;
	char *up = dirname(path);
	if (!eq(up, path))
		makedirs(up);
	return CALL(mkdirat, CWD, path, 0777);
}

static long removetree(const char *path)
{
	if ((mode(path, 0) & S_IFMT) != S_IFDIR)
		return CALL(unlinkat, CWD, path, 0);
	CALL(fchmodat, CWD, path, 0700);
	struct list l = entries(path);
	for (long i = 0; i < l.n; i++)
		removetree(join(path, "/", l.v[i]));
	return CALL(unlinkat, CWD, path, 0x200);
}

static char *readlink(const char *path)
{
	char *s = alloc(4096);
	long n = CALL(readlinkat, CWD, path, s, 4095);
	return n < 0 ? 0 : (s[n] = 0, s);
}

static long copytree(const char *from, const char *to)
{
	int m = mode(from, 0);
	struct buf b = {0};
	long err;
	if (!m)
		return -ENOENT;
	if ((m & S_IFMT) == S_IFLNK)
		return CALL(symlinkat, readlink(from), CWD, to);
	if ((m & S_IFMT) != S_IFDIR)
		return (err = slurpfile(from, &b)) < 0 ? err : spill(to, b.p, b.n, m & 0777);
	int made = !isdir(to);
	if ((err = makedirs(to)) < 0)
		return err;
	struct list l = entries(from);
	for (long i = 0; i < l.n; i++)
		if ((err = copytree(join(from, "/", l.v[i]), join(to, "/", l.v[i]))) < 0)
			return err;
	return made ? CALL(fchmodat, CWD, to, m & 0777) : 0;
}

/* -------------------------------------------- shell: variables, functions -- */

struct node;
struct var { struct var *next; char *name, *value; int exported; };
struct func { struct func *next; char *name; struct node *body; };

static struct var *vars;
static struct func *funcs;
static char **params, *zero = "sh";	/* $1… and $0 */
static long nparams;
static struct list *locals;		/* name, value pairs to restore when the function returns */
static int status, substatus, errexit, tested;	/* tested: within a condition, where set -e is silent */
static enum { NONE, BREAK, CONTINUE, RETURN } flow;

static struct var *lookup(const char *name, long n)
{
	for (struct var *v = vars; v; v = v->next)
		if (!memcmp(v->name, name, n) && !v->name[n])
			return v;
	return 0;
}
static char *get(const char *name) { struct var *v = lookup(name, len(name)); return v ? v->value : 0; }
static struct var *set(const char *name, long n, char *value)
{
	struct var *v = lookup(name, n);
	if (!v) {
		v = memset(alloc(sizeof *v), 0, sizeof *v);
		v->name = copy(name, n), v->next = vars, vars = v;
	}
	v->value = value;
	return v;
}
static struct node *function(const char *name)
{
	for (struct func *f = funcs; f; f = f->next)
		if (eq(f->name, name))
			return f->body;
	return 0;
}
static char **environment(void)
{
	struct list l = {0};
	for (struct var *v = vars; v; v = v->next)
		if (v->exported && v->value)
			add(&l, join(v->name, "=", v->value));
	sort(&l);
	add(&l, 0);
	return l.v;
}

/* --------------------------------------------------------- shell: parser -- */

enum kind { SIMPLE, SEQ, AND, OR, NOT, PIPE, IF, WHILE, FOR, CASE, FUNC, SUBSHELL, REDIR };

struct redir { struct redir *next; int fd, op; char *word; };
struct node {
	enum kind kind;
	struct node *a, *b, *c;
	struct list assigns, words;	/* CASE: words[0] is the subject; its clauses are chained through b */
	struct redir *redirs;
	char *name;
};

static const char *src;			/* what is left to parse */
static struct redir *heredoc;		/* one whose body starts on the next line; one per line will do */
static struct node *parselist(void);

static struct node *mk(enum kind kind, struct node *a, struct node *b)
{
	struct node *n = memset(alloc(sizeof *n), 0, sizeof *n);
	n->kind = kind, n->a = a, n->b = b;
	return n;
}
static void syntax(const char *what)
{
	long n = 0;
	while (src[n] && src[n] != '\n' && n < 60)
		n++;
	complain("sh: syntax error", join(what, ", near: ", copy(src, n)), 0);
	die(2);
}

static int assignment(const char *w)
{
	long n = 0;
	while (namechar(w[n]))
		n++;
	return n && w[n] == '=' && !digit(*w);
}

/* quoted moves src past a quoted or $-bracketed part, or one plain character. */
static void quoted(void)
{
	int open = *src++;
	if (open == '\\' && *src) {
		src++;
	} else if (open == '\'' || open == '"') {
		while (*src != open) {
			if (!*src)
				syntax("unclosed quote");
			if (open == '"' && (*src == '\\' || *src == '$'))
				quoted();
			else
				src++;
		}
		src++;
	} else if (open == '$' && (*src == '(' || *src == '{')) {
		int in = *src, out = in == '(' ? ')' : '}';
		for (int depth = 0;;) {
			if (!*src)
				syntax("unclosed $( or ${");
			depth += (*src == in) - (*src == out);
			if (*src == '\'' || *src == '"' || *src == '\\' || (*src == '$' && (src[1] == '(' || src[1] == '{')))
				quoted();
			else
				src++;
			if (!depth)
				return;
		}
	}
}
static void blanks(void)
{
	while (*src == ' ' || *src == '\t' || (*src == '\\' && src[1] == '\n'))
		src += *src == '\\' ? 2 : 1;
	if (*src == '#')
		while (*src && *src != '\n')
			src++;
}
static char *word(void)
{
	blanks();
	const char *from = src;
	while (*src && !find(" \t\n;&|<>()", *src))
		quoted();
	return src == from ? 0 : copy(from, src - from);
}

static void newline(void)
{
	struct redir *r = heredoc;
	src++;
	if (!r)
		return;
	heredoc = 0;
	int literal = find(r->word, '\'') || find(r->word, '"'), tabs = *r->word == '-';
	struct buf end = {0}, body = {0};
	for (const char *w = r->word + tabs; *w; w++)
		if (*w != '\'' && *w != '"')
			putch(&end, *w);
	for (put(&body, "", 0);;) {
		while (tabs && *src == '\t')
			src++;
		const char *line = src;
		while (*src && *src != '\n')
			src++;
		if (src - line == end.n && !memcmp(line, end.p, end.n))
			break;
		if (!*src)
			syntax("unfinished here-document");
		src++;
		put(&body, line, src - line);
	}
	r->op = literal ? 'l' : 'e', r->word = body.p;
	src += *src == '\n';
}
static void newlines(void)
{
	for (blanks(); *src == '\n' || (*src == ';' && src[1] != ';'); blanks())
		*src == '\n' ? newline() : (void)src++;
}

static int redirection(struct node *n)
{
	const char *at = src;
	while (digit(*src))
		src++;
	if (*src != '<' && *src != '>') {
		src = at;
		return 0;
	}
	struct redir *r = memset(alloc(sizeof *r), 0, sizeof *r), **end = &n->redirs;
	r->op = *src++;
	r->fd = digit(*at) ? number(at) : r->op == '>';
	if (*src == '&')
		r->op = '&', src++;
	else if (*src == r->op)
		r->op = *src++ == '<' ? 'h' : 'a';
	if (!(r->word = word()))
		syntax("redirection without a target");
	if (r->op == 'h')
		heredoc = r;
	while (*end)
		end = &(*end)->next;
	*end = r;
	return 1;
}

static int keyword(const char *expected)
{
	newlines();
	const char *at = src;
	char *w = word();
	if (w && eq(w, expected))
		return 1;
	src = at;
	return 0;
}
static void expect(const char *expected)
{
	if (!keyword(expected))
		syntax(join("expected ", expected, ""));
}

static struct node *parseif(void)
{
	struct node *n = mk(IF, parselist(), 0);
	expect("then");
	n->b = parselist();
	if (keyword("elif"))
		n->c = parseif();
	else {
		if (keyword("else"))
			n->c = parselist();
		expect("fi");
	}
	return n;
}
static struct node *parsecase(void)
{
	struct node *n = mk(CASE, 0, 0), **end = &n->b;
	add(&n->words, word());
	expect("in");
	while (!keyword("esac")) {
		struct node *clause = mk(CASE, 0, 0);
		blanks();
		if (*src == '(')
			src++;
		do add(&clause->words, word()); while (blanks(), *src == '|' && src++);
		if (*src++ != ')')
			syntax("expected ) after a pattern");
		clause->a = parselist();
		blanks();
		if (*src == ';' && src[1] == ';')
			src += 2;
		*end = clause, end = &clause->b;
	}
	return n;
}
static struct node *parseblock(void)
{
	expect("do");
	struct node *body = parselist();
	expect("done");
	return body;
}

static struct node *parsecommand(void)
{
	struct node *n = 0;
	blanks();
	const char *at = src;
	if (*src == '(') {
		src++;
		n = mk(SUBSHELL, parselist(), 0);
		newlines();
		if (*src++ != ')')
			syntax("expected )");
	} else {
		char *w = word();
		static const char *const stops[] = { "then", "elif", "else", "fi", "do", "done", "esac", "}" };
		for (long i = 0; w && i < 8; i++)
			if (eq(w, stops[i]))
				return src = at, (struct node *)0;
		if (!w)
			;
		else if (eq(w, "if"))
			n = parseif();
		else if (eq(w, "case"))
			n = parsecase();
		else if (eq(w, "while"))
			n = mk(WHILE, parselist(), 0), n->b = parseblock();
		else if (eq(w, "{"))
			n = mk(REDIR, parselist(), 0), expect("}");
		else if (eq(w, "for")) {
			n = mk(FOR, 0, 0);
			n->name = word();
			expect("in");
			for (char *each; (each = word());)
				add(&n->words, each);
			n->b = parseblock();
		} else if (*src == '(' && src[1] == ')') {
			src += 2;
			newlines();
			n = mk(FUNC, parsecommand(), 0);
			n->name = w;
			return n;
		}
	}
	if (n) {
		struct node *outer = mk(REDIR, n, 0);
		for (blanks(); redirection(outer); blanks())
			;
		return outer->redirs ? outer : n;
	}
	src = at;
	n = mk(SIMPLE, 0, 0);
	for (;;) {
		blanks();
		if (redirection(n))
			continue;
		char *w = word();
		if (!w)
			break;
		if (!n->words.n && assignment(w))
			add(&n->assigns, w);
		else
			add(&n->words, w);
	}
	return n->words.n || n->assigns.n || n->redirs ? n : 0;
}
static struct node *parsepipeline(void)
{
	blanks();
	if (*src == '!' && blank(src[1]))
		return src++, mk(NOT, parsepipeline(), 0);
	struct node *n = parsecommand();
	blanks();
	if (n && *src == '|' && src[1] != '|') {
		src++;
		newlines();
		n = mk(PIPE, n, parsepipeline());
	}
	return n;
}
static struct node *parselist(void)
{
	struct node *all = 0, **end = &all;
	for (;;) {
		newlines();
		struct node *n = parsepipeline();
		if (!n)
			return all;
		for (blanks(); (*src == '&' && src[1] == '&') || (*src == '|' && src[1] == '|'); blanks()) {
			enum kind kind = *src == '&' ? AND : OR;
			src += 2;
			newlines();
			n = mk(kind, n, parsepipeline());
		}
		*end = mk(SEQ, n, 0), end = &(*end)->b;
		if (*src == '&')
			syntax("background jobs are not supported");
		if (*src != '\n' && (*src != ';' || src[1] == ';'))
			return all;
	}
}
static struct node *parse(const char *text)
{
	const char *outer = src;
	src = text;
	struct node *n = parselist();
	newlines();
	if (*src)
		syntax("unexpected text");
	src = outer;
	return n;
}

/* ------------------------------------------------------ shell: expansion -- */

static int run(struct node *);
static int evaltext(const char *text) { return run(parse(text)); }

/* In patterns and unfinished fields, LITERAL precedes a character that was quoted. */
enum { LITERAL = 1 };

/* match tells whether the first n characters of s are an instance of pattern. */
static int match(const char *p, const char *s, long n)
{
	for (; *p; p++, s++, n--) {
		if (*p == '*') {
			for (long i = 0; i <= n; i++)
				if (match(p + 1, s + i, n - i))
					return 1;
			return 0;
		}
		if (n <= 0)
			return 0;
		if (*p == '[' && find(p, ']')) {
			int not = p[1] == '!', hit = 0;
			for (p += 1 + not; *p != ']'; p++)
				if (p[1] == '-' && p[2] != ']')
					hit |= *p <= *s && *s <= p[2], p += 2;
				else
					hit |= *p == *s;
			if (hit == not)
				return 0;
		} else if (*p != '?' && *(*p == LITERAL ? ++p : p) != *s)
			return 0;
	}
	return n == 0;
}
static char *unmark(const char *s)
{
	struct buf b = {0};
	for (put(&b, "", 0); *s; s++)
		putch(&b, *s == LITERAL ? *++s : *s);
	return b.p;
}
static int magic(const char *s)
{
	for (; *s; s++)
		if (*s == LITERAL)
			s++;
		else if (find("*?[", *s))
			return 1;
	return 0;
}
static void glob(const char *dir, const char *pattern, struct list *out)
{
	const char *slash = find(pattern, '/');
	long n = slash ? slash - pattern : len(pattern);
	char *part = copy(pattern, n);
	struct list names = {0};
	if (magic(part))
		names = entries(*dir ? dir : ".");
	else
		add(&names, unmark(part));
	for (long i = 0; i < names.n; i++) {
		if (magic(part) && (!match(part, names.v[i], len(names.v[i])) || (*names.v[i] == '.' && *part != '.')))
			continue;
		char *path = join(dir, names.v[i], slash ? "/" : "");
		if (slash && slash[1])
			glob(path, slash + 1, out);
		else if (mode(path, 0))
			add(out, path);
	}
}

struct expansion { struct buf field; int begun; struct list *out; };

static void endfield(struct expansion *x)
{
	if (!x->begun)
		return;
	put(&x->field, "", 0);
	long before = x->out->n;
	if (magic(x->field.p))
		glob("", x->field.p, x->out);
	if (x->out->n == before)
		add(x->out, unmark(x->field.p));
	memset(&x->field, 0, sizeof x->field);
	x->begun = 0;
}
/* value adds an expanded value: literally when quoted or not splitting, else split at blanks. */
static void value(struct expansion *x, const char *s, int inquotes)
{
	x->begun |= inquotes;
	for (; *s; s++) {
		if (!inquotes && x->out && blank(*s)) {
			endfield(x);
			continue;
		}
		if (inquotes)
			putch(&x->field, LITERAL);
		putch(&x->field, *s);
		x->begun = 1;
	}
}

static void expand(struct expansion *x, const char *w, int inquotes);

static char *pattern(const char *w)
{
	struct expansion x = {0};
	expand(&x, w, 0);
	put(&x.field, "", 0);
	return x.field.p;
}
static char *text(const char *w) { return unmark(pattern(w)); }

static char *capture(const char *script)
{
	int fds[2];
	struct buf b = {0};
	struct node *n = parse(script);
	CALL(pipe2, fds, O_CLOEXEC);
	long pid = CALL(clone, SIGCHLD);
	if (!pid) {
		CALL(dup3, fds[1], 1, 0);
		tested = 0;
		die(run(n));
	}
	CALL(close, fds[1]);
	slurp(fds[0], &b);
	CALL(close, fds[0]);
	int ws;
	CALL(wait4, pid, &ws, 0, 0);
	substatus = ws & 127 ? 128 + (ws & 127) : ws >> 8 & 255;
	while (b.n && b.p[b.n - 1] == '\n')
		b.p[--b.n] = 0;
	return b.p;
}

static const char *math;
static long arith(int level)
{
	/* Weakest first; an operator of two characters comes before its prefix. */
	static const char *const ops[] = { "||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%" };
	static const u8 levels[] = { 0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 5 };
	long a = 0, b;
	while (blank(*math))
		math++;
	if (level > 5) {
		if (*math == '(') {
			math++;
			a = arith(0);
			math++;
		} else if (*math == '-') {
			math++;
			a = -arith(6);
		} else if (*math == '!') {
			math++;
			a = !arith(6);
		} else {
			const char *from = math;
			while (namechar(*math))
				math++;
			char *name = copy(from, math - from), *v = digit(*name) ? name : get(name);
			a = v ? number(v) : 0;
		}
		while (blank(*math))
			math++;
		return a;
	}
	for (a = arith(level + 1);;) {
		long i = 0;
		while (i < 13 && !(levels[i] == level && starts(math, ops[i])))
			i++;
		if (i == 13)
			return a;
		math += len(ops[i]);
		b = arith(level + 1);
		if (i > 10 && !b)
			complain("sh", "division by zero", 0), die(1);
		switch (i) {
		case 0: a = a || b; break;
		case 1: a = a && b; break;
		case 2: a = a == b; break;
		case 3: a = a != b; break;
		case 4: a = a <= b; break;
		case 5: a = a >= b; break;
		case 6: a = a < b; break;
		case 7: a = a > b; break;
		case 8: a += b; break;
		case 9: a -= b; break;
		case 10: a *= b; break;
		case 11: a /= b; break;
		case 12: a %= b; break;
		}
	}
}

static char *parameter(const char *name)
{
	struct buf b = {0};
	switch (*name) {
	case '?': return decimal(status);
	case '#': return decimal(nparams);
	case '$': return decimal(CALL(getpid, 0));
	case '@': case '*':
		for (long i = 0; i < nparams; i++)
			puts_(&b, i ? " " : ""), puts_(&b, params[i]);
		return b.p;
	}
	if (digit(*name)) {
		long i = number(name);
		return !i ? zero : i <= nparams ? params[i - 1] : 0;
	}
	return get(name);
}

/* braced expands the inside of ${…}. */
static void braced(struct expansion *x, char *s, int inquotes)
{
	if (*s == '#' && s[1])
		return value(x, decimal(len(parameter(s + 1) ? parameter(s + 1) : "")), inquotes);
	int indirect = *s == '!';
	s += indirect;
	long n = 0;
	while (namechar(s[n]))
		n++;
	n += !n;
	char *name = copy(s, n), *v;
	if (indirect)
		name = parameter(name);
	v = parameter(name);
	s += n;
	int colon = *s == ':' && s[1], op = s[colon];
	char *arg = op ? s + colon + 1 : 0;
	int missing = !v || (colon && !*v);
	if (!op) {
		;
	} else if (op == '-' || op == '=') {
		if (missing) {
			if (op == '-')
				return expand(x, arg, inquotes);
			v = set(name, len(name), text(arg))->value;
		}
	} else if (op == '+') {
		if (!missing)
			expand(x, arg, inquotes);
		return;
	} else if (op == '?') {
		if (missing)
			complain("sh", join(name, ": ", *arg ? text(arg) : "not set"), 0), die(1);
	} else if (v && (op == '#' || op == '%')) {
		int longest = *arg == op, front = op == '#';
		char *p = pattern(arg + longest);
		long size = len(v), hit = -1;
		for (long i = 0; i <= size; i++) {
			long take = longest ? size - i : i;
			if (match(p, front ? v : v + size - take, take)) {
				hit = take;
				break;
			}
		}
		if (hit >= 0)
			v = front ? v + hit : copy(v, size - hit);
	} else if (v && op == '/') {
		struct buf b = {0};
		int every = *arg == '/';
		char *rest = (char *)find(arg + every, '/');
		char *from = text(rest ? copy(arg + every, rest - arg - every) : arg + every), *to = rest ? text(rest + 1) : "";
		for (put(&b, "", 0); *v;)
			if (*from && starts(v, from)) {
				puts_(&b, to);
				v += len(from);
				if (!every)
					from = "";
			} else
				putch(&b, *v++);
		v = b.p;
	}
	if (v)
		value(x, v, inquotes);
}

static void dollar(struct expansion *x, const char **w, int inquotes)
{
	const char *s = *w + 1, *outer = src;
	if (*s == '(' || *s == '{') {
		src = *w;
		quoted();
		char *inner = copy(s + 1, src - s - 2);
		*w = src;
		src = outer;
		if (*s == '{') {
			braced(x, inner, inquotes);
		} else if (*inner == '(') {
			math = text(copy(inner + 1, len(inner) - 2));
			value(x, decimal(arith(0)), inquotes);
		} else {
			char *v = capture(inner);
			if (v)
				value(x, v, inquotes);
		}
		return;
	}
	if (*s == '@' && inquotes && x->out) {
		for (long i = 0; i < nparams; i++) {
			if (i)
				endfield(x);
			value(x, params[i], 1);
		}
		if (!nparams && !x->field.n)
			x->begun = 0;
		*w = s + 1;
		return;
	}
	long n = 0;
	while (namechar(s[n]) && !(n && digit(*s)))
		n++;
	if (!n && *s && find("?#$@*", *s))
		n = 1;
	if (!n)
		putch(&x->field, '$'), x->begun = 1;
	else {
		char *v = parameter(copy(s, n));
		if (v)
			value(x, v, inquotes);
	}
	*w = s + n;
}

static void expand(struct expansion *x, const char *w, int inquotes)
{
	while (*w) {
		if (*w == '$') {
			dollar(x, &w, inquotes);
		} else if (*w == '"') {
			inquotes = !inquotes;
			/* "" is an empty field, yet "$@" without parameters is none at all. */
			if (inquotes && !starts(w, "\"$@\""))
				x->begun = 1;
			w++;
		} else if (*w == '\'' && !inquotes) {
			for (x->begun = 1, w++; *w != '\''; w++)
				putch(&x->field, LITERAL), putch(&x->field, *w);
			w++;
		} else if (*w == '\\' && w[1] && (!inquotes || find("$\"\\\n`", w[1]))) {
			if (w[1] != '\n')
				putch(&x->field, LITERAL), putch(&x->field, w[1]), x->begun = 1;
			w += 2;
		} else if (!inquotes && x->out && blank(*w)) {
			endfield(x), w++;	/* only in ${x:-a b} */
		} else {
			if (inquotes)
				putch(&x->field, LITERAL);
			putch(&x->field, *w++);
			x->begun = 1;
		}
	}
}
/* fields expands the words of a command; `export a=$b` and `local a=$b` do not split what is assigned. */
static struct list fields(struct list *words)
{
	struct list out = {0};
	int declares = words->n && (eq(words->v[0], "export") || eq(words->v[0], "local"));
	for (long i = 0; i < words->n; i++) {
		struct expansion x = { .out = &out };
		if (declares && assignment(words->v[i])) {
			add(&out, text(words->v[i]));
			continue;
		}
		expand(&x, words->v[i], 0);
		endfield(&x);
	}
	return out;
}

/* ------------------------------------------------------ shell: execution -- */

struct saved { struct saved *next; long fd, copy; };

/* redirect carries out redirections; undo gets what is needed to take them back. */
static int redirect(struct redir *r, struct saved **undo)
{
	for (; r; r = r->next) {
		long fd;
		if (undo) {
			struct saved *s = alloc(sizeof *s);
			s->fd = r->fd, s->copy = CALL(fcntl, r->fd, 1030, 10), s->next = *undo, *undo = s;
		}
		if (r->op == 'e' || r->op == 'l') {
			struct expansion x = {0};
			char *body = r->word;
			if (r->op == 'e') {
				/* Quotes mean nothing in a here-document, so only $ and \ are looked at. */
				for (const char *w = body; *w;)
					if (*w == '$')
						dollar(&x, &w, 1);
					else if (*w == '\\' && w[1] && find("$\\`", w[1]))
						putch(&x.field, LITERAL), putch(&x.field, w[1]), w += 2;
					else
						putch(&x.field, LITERAL), putch(&x.field, *w++);
				put(&x.field, "", 0);
				body = unmark(x.field.p);
			}
			fd = CALL(memfd_create, "here", 1);
			writeall(fd, body, len(body));
			CALL(lseek, fd, 0, 0);
		} else {
			char *target = text(r->word);
			if (r->op == '&') {
				if (*target == '-')
					CALL(close, r->fd);
				else if (CALL(dup3, number(target), r->fd, 0) < 0 && number(target) != r->fd)
					return complain("sh", join(target, ": bad file descriptor", ""), 0);
				continue;
			}
			int flags = r->op == '<' ? 0 : O_WRONLY | O_CREAT | (r->op == 'a' ? O_APPEND : O_TRUNC);
			if ((fd = CALL(openat, CWD, target, flags | O_CLOEXEC, 0666)) < 0)
				return complain("sh", target, fd);
		}
		CALL(dup3, fd, r->fd, 0);
		CALL(close, fd);
	}
	return 0;
}
static void restore(struct saved *s)
{
	for (; s; s = s->next)
		if (s->copy < 0)
			CALL(close, s->fd);
		else
			CALL(dup3, s->copy, s->fd, 0), CALL(close, s->copy);
}

static int waitfor(long pid)
{
	int ws = 0;
	while (CALL(wait4, pid, &ws, 0, 0) == -4)
		;
	return ws & 127 ? 128 + (ws & 127) : ws >> 8 & 255;
}

static char *inpath(const char *name)
{
	if (find(name, '/'))
		return mode(name, 1) ? (char *)name : 0;
	for (const char *p = get("PATH"); p && *p;) {
		const char *colon = find(p, ':');
		long n = colon ? colon - p : len(p);
		char *full = join(copy(p, n), "/", name);
		int m = mode(full, 1);
		if ((m & S_IFMT) == S_IFREG && m & 0111)
			return full;
		p += n + !!colon;
	}
	return 0;
}
static int execute(char *path, char **argv)
{
	long err = CALL(execve, path, argv, environment());
	complain("sh", path, err);
	return 126;
}

typedef int applet(int argc, char **argv);
static applet *findapplet(const char *name), a_sh;

static int call(struct node *body, long argc, char **argv)
{
	char **outer = params;
	long nouter = nparams;
	struct list mine = {0}, *outerlocals = locals;
	params = argv + 1, nparams = argc - 1, locals = &mine;
	run(body);
	if (flow == RETURN)
		flow = NONE;
	for (long i = mine.n; i; i -= 2)
		set(mine.v[i - 2], len(mine.v[i - 2]), mine.v[i - 1]);
	params = outer, nparams = nouter, locals = outerlocals;
	return status;
}

static void assign(char *w, int exported)
{
	char *is = (char *)find(w, '=');
	struct var *v = set(w, is - w, text(is + 1));
	v->exported |= exported;
}

static int simple(struct node *n)
{
	substatus = 0;
	struct list args = fields(&n->words);
	struct saved *undo = 0;
	if (!args.n) {
		for (long i = 0; i < n->assigns.n; i++)
			assign(n->assigns.v[i], 0);
		int failed = redirect(n->redirs, &undo);
		restore(undo);
		return failed ? 1 : substatus;
	}
	struct node *fn = function(args.v[0]);
	applet *builtin = fn ? 0 : findapplet(args.v[0]);
	if (builtin == a_sh)
		builtin = 0;	/* a shell of its own is a process of its own */
	if (eq(args.v[0], "exec")) {
		if (redirect(n->redirs, 0))
			die(1);
		return args.n == 1 ? 0 : builtin(args.n, args.v);
	}
	if (fn || builtin) {
		struct list before = {0};
		for (long i = 0; i < n->assigns.n; i++) {
			char *name = copy(n->assigns.v[i], find(n->assigns.v[i], '=') - n->assigns.v[i]);
			add(&before, name), add(&before, get(name));
			assign(n->assigns.v[i], 0);
		}
		int code = redirect(n->redirs, &undo) ? 1 : fn ? call(fn, args.n, args.v) : builtin(args.n, args.v);
		for (long i = 0; i < before.n; i += 2)
			set(before.v[i], len(before.v[i]), before.v[i + 1]);
		restore(undo);
		return code;
	}
	char *path = inpath(args.v[0]);
	if (!path) {
		complain(zero, join(args.v[0], ": command not found", ""), 0);
		return 127;
	}
	long pid = CALL(clone, SIGCHLD);
	if (!pid) {
		if (redirect(n->redirs, 0))
			die(1);
		for (long i = 0; i < n->assigns.n; i++)
			assign(n->assigns.v[i], 1);
		die(execute(path, args.v));
	}
	return waitfor(pid);
}

static int pipeline(struct node *n)
{
	int fds[2];
	CALL(pipe2, fds, O_CLOEXEC);
	long left = CALL(clone, SIGCHLD);
	if (!left) {
		CALL(dup3, fds[1], 1, 0);
		die(run(n->a));
	}
	CALL(close, fds[1]);
	long right = CALL(clone, SIGCHLD);
	if (!right) {
		CALL(dup3, fds[0], 0, 0);
		CALL(close, fds[0]);
		die(run(n->b));
	}
	CALL(close, fds[0]);
	int first = waitfor(left), last = waitfor(right);
	return last ? last : first;
}

static int condition(struct node *n)
{
	tested++;
	int code = run(n);
	tested--;
	return code;
}

/* leaves takes note of break and continue; it tells whether to leave the loop. */
static int leaves(void)
{
	int out = flow == BREAK || flow == RETURN;
	if (flow != RETURN)
		flow = NONE;
	return out;
}

static int run(struct node *n)
{
	struct saved *undo = 0;
	struct list words;
	long pid;
	for (; n && n->kind == SEQ; n = n->b) {
		run(n->a);
		if (flow)
			return status;
	}
	if (!n)
		return status;
	switch (n->kind) {
	case SEQ: break;
	case SIMPLE: status = simple(n); break;
	case AND: status = condition(n->a); if (!status && !flow) run(n->b); return status;
	case OR: status = condition(n->a); if (status && !flow) run(n->b); return status;
	case NOT: return status = !condition(n->a);
	case PIPE: status = pipeline(n); break;
	case IF:
		if (!condition(n->a) && !flow)
			return run(n->b);
		return flow ? status : n->c ? run(n->c) : (status = 0);
	case WHILE:
		while (!condition(n->a) && !flow) {
			run(n->b);
			if (leaves())
				break;
		}
		return flow ? status : (status = 0);
	case FOR:
		words = fields(&n->words);
		status = 0;
		for (long i = 0; i < words.n; i++) {
			set(n->name, len(n->name), words.v[i]);
			run(n->b);
			if (leaves())
				break;
		}
		return status;
	case CASE: {
		char *subject = text(n->words.v[0]);
		status = 0;
		for (n = n->b; n; n = n->b)
			for (long i = 0; i < n->words.n; i++)
				if (match(pattern(n->words.v[i]), subject, len(subject)))
					return run(n->a);
		return status;
	}
	case FUNC: {
		struct func *f = alloc(sizeof *f);
		f->name = n->name, f->body = n->a, f->next = funcs, funcs = f;
		return status = 0;
	}
	case SUBSHELL:
		if (!(pid = CALL(clone, SIGCHLD)))
			die(run(n->a));
		status = waitfor(pid);
		break;
	case REDIR:
		status = redirect(n->redirs, &undo) ? 1 : run(n->a);
		restore(undo);
		return status;
	}
	if (status && errexit && !tested && !flow)
		die(status);
	return status;
}

/* ------------------------------------------ applets: the shell's own words -- */

static int a_true(int argc, char **argv) { (void)argc, (void)argv; return 0; }
static int a_false(int argc, char **argv) { (void)argc, (void)argv; return 1; }
static int a_exit(int argc, char **argv) { die(argc > 1 ? number(argv[1]) : status); return 0; }
static int a_return(int argc, char **argv) { flow = RETURN; return argc > 1 ? number(argv[1]) : status; }
static int a_break(int argc, char **argv) { (void)argc, (void)argv; flow = BREAK; return 0; }
static int a_continue(int argc, char **argv) { (void)argc, (void)argv; flow = CONTINUE; return 0; }
static int a_shift(int argc, char **argv)
{
	long n = argc > 1 ? number(argv[1]) : 1;
	if (n > nparams)
		return 1;
	params += n, nparams -= n;
	return 0;
}
static int a_cd(int argc, char **argv)
{
	long err = CALL(chdir, argc > 1 ? argv[1] : get("HOME"));
	char *cwd = alloc(4096);
	if (err < 0)
		return complain("cd", argv[1], err);
	if (CALL(getcwd, cwd, 4096) > 0)
		set("PWD", 3, cwd)->exported = 1;
	return 0;
}
static int a_export(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *is = (char *)find(argv[i], '=');
		long n = is ? is - argv[i] : len(argv[i]);
		struct var *v = is ? set(argv[i], n, is + 1) : lookup(argv[i], n);
		(v ? v : set(argv[i], n, 0))->exported = 1;
	}
	return 0;
}
static int a_local(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *is = (char *)find(argv[i], '=');
		char *name = copy(argv[i], is ? is - argv[i] : len(argv[i]));
		if (locals)
			add(locals, name), add(locals, get(name));
		set(name, len(name), is ? is + 1 : "");
	}
	return 0;
}
static int a_unset(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		set(argv[i], len(argv[i]), 0)->exported = 0;
	return 0;
}
static int a_set(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (eq(argv[i], "--")) {
			params = argv + i + 1, nparams = argc - i - 1;
			break;
		}
		for (char *c = argv[i] + 1; *c; c++)
			if (*c == 'e')
				errexit = *argv[i] == '-';
			else if (*c == 'o')
				i++;
	}
	return 0;
}
static int a_eval(int argc, char **argv)
{
	struct buf b = {0};
	put(&b, "", 0);
	for (int i = 1; i < argc; i++)
		puts_(&b, argv[i]), putch(&b, ' ');
	return status = 0, evaltext(b.p);
}
static int a_source(int argc, char **argv)
{
	struct buf b = {0};
	long err = argc > 1 ? slurpfile(argv[1], &b) : -ENOENT;
	if (err < 0)
		return complain("source", argv[1], err);
	status = 0;
	evaltext(b.p);
	if (flow == RETURN)
		flow = NONE;
	return status;
}
static int a_exec(int argc, char **argv)
{
	char *name = 0;
	if (argc > 3 && eq(argv[1], "-a"))
		name = argv[2], argv += 2;
	char *path = argv[1] ? inpath(argv[1]) : 0;
	if (!path)
		complain("exec", argv[1] ? argv[1] : "what?", -ENOENT), die(127);
	if (name)
		argv[1] = name;
	die(execute(path, argv + 1));
	return 0;
}
static int a_declare(int argc, char **argv) { return argc > 2 && eq(argv[1], "-F") && function(argv[2]) ? 0 : 1; }
static int a_read(int argc, char **argv)
{
	struct buf b = {0};
	char chunk[512];
	int got = 0;
	put(&b, "", 0);
	/* What follows the line is for whoever reads next: a file is set back, a pipe is read by the byte. */
	long size = CALL(lseek, 0, 0, 1) < 0 ? 1 : sizeof chunk;
	for (long n, i = 0; (n = CALL(read, 0, chunk, size)) > 0;) {
		for (got = 1, i = 0; i < n && chunk[i] != '\n';)
			i++;
		put(&b, chunk, i);
		if (i < n) {
			if (i + 1 < n)
				CALL(lseek, 0, i + 1 - n, 1);
			break;
		}
	}
	char *s = b.p;
	for (int i = 1; i < argc; i++) {
		if (*argv[i] == '-')
			continue;
		while (blank(*s))
			s++;
		char *end = s + len(s);
		if (i + 1 < argc)
			for (end = s; *end && !blank(*end);)
				end++;
		else
			while (end > s && blank(end[-1]))
				end--;
		set(argv[i], len(argv[i]), copy(s, end - s));
		s = end;
	}
	return !got;
}
static int a_sh(int argc, char **argv)
{
	int i = 1, command = 0;
	for (; i < argc && *argv[i] == '-'; i++)
		for (char *c = argv[i] + 1; *c; c++)
			errexit |= *c == 'e', command |= *c == 'c';
	if (i >= argc)
		return complain("sh", "no script given", 0);
	struct buf b = {0};
	if (!command) {
		long err = slurpfile(argv[i], &b);
		if (err < 0)
			return complain("sh", argv[i], err), 127;
		zero = argv[i];
	} else if (i + 1 < argc)
		zero = argv[i + 1];
	params = argv + i + 1 + (command && i + 1 < argc), nparams = argv + argc - params;
	die(evaltext(command ? argv[i] : b.p));
	return 0;
}

/* -------------------------------------------------- applets: text, output -- */

static void escape(struct buf *b, const char **s)
{
	switch (*++*s) {
	case 'n': putch(b, '\n'); break;
	case 't': putch(b, '\t'); break;
	case 'e': putch(b, 27); break;
	default: putch(b, **s);
	}
	++*s;
}
static int a_echo(int argc, char **argv)
{
	struct buf b = {0};
	int quiet = argc > 1 && eq(argv[1], "-n");
	put(&b, "", 0);
	for (int i = 1 + quiet; i < argc; i++)
		puts_(&b, argv[i]), puts_(&b, i + 1 < argc ? " " : "");
	puts_(&b, quiet ? "" : "\n");
	writeall(1, b.p, b.n);
	return 0;
}
static int a_printf(int argc, char **argv)
{
	struct buf b = {0};
	int next = 2;
	put(&b, "", 0);
	do {
		for (const char *f = argv[1]; f && *f;) {
			if (*f == '\\') {
				escape(&b, &f);
			} else if (*f == '%' && f[1] != '%') {
				long width = 0, zeros = *++f == '0', from = b.n;
				for (; digit(*f); f++)
					width = width * 10 + *f - '0';
				char *arg = next < argc ? argv[next++] : "";
				puts_(&b, *f == 's' ? arg : decimal(number(arg)));
				for (f++; b.n - from < width;) {
					putch(&b, ' ');
					memmove(b.p + from + 1, b.p + from, b.n - from - 1);
					b.p[from] = zeros ? '0' : ' ';
				}
			} else {
				f += *f == '%';
				putch(&b, *f++);
			}
		}
	} while (next > 2 && next < argc);
	writeall(1, b.p, b.n);
	return 0;
}
static int a_cat(int argc, char **argv)
{
	for (int i = 1; i < argc || i == 1; i++) {
		struct buf b = {0};
		long err = argc == 1 ? slurp(0, &b) : slurpfile(argv[i], &b);
		if (err < 0)
			return complain("cat", argv[i], err);
		writeall(1, b.p, b.n);
	}
	return 0;
}
static int contains(const char *s, const char *what)
{
	for (; *s; s++)
		if (starts(s, what))
			return 1;
	return 0;
}
/* grep looks for a fixed string, which is all that the scripts here need. */
static int a_grep(int argc, char **argv)
{
	int quiet = 0, hit = 0, i = 1;
	for (; i < argc && *argv[i] == '-'; i++)
		quiet |= !!find(argv[i], 'q');
	char *what = i < argc ? argv[i++] : "";
	for (int from = i; i < argc || i == from; i++) {
		struct buf b = {0};
		long err = i < argc ? slurpfile(argv[i], &b) : slurp(0, &b);
		if (err < 0)
			return complain("grep", argv[i], err), 2;
		for (char *line = b.p, *end; *line; line = end) {
			for (end = line; *end && *end != '\n';)
				end++;
			if (contains(copy(line, end - line), what)) {
				hit = 1;
				if (!quiet)
					writeall(1, line, end - line), writeall(1, "\n", 1);
			}
			end += *end == '\n';
		}
	}
	return !hit;
}
/* replace FILE FROM TO: exit status 1 when FROM is not in the file. */
static int a_replace(int argc, char **argv)
{
	struct buf b = {0}, out = {0};
	if (argc != 4 || !*argv[2])
		return complain("replace", "usage: replace FILE FROM TO", 0), 2;
	long err = slurpfile(argv[1], &b), from = len(argv[2]);
	int hit = 0;
	if (err < 0)
		return complain("replace", argv[1], err), 2;
	put(&out, "", 0);
	for (long i = 0; i < b.n;)
		if (i + from <= b.n && !memcmp(b.p + i, argv[2], from))
			puts_(&out, argv[3]), i += from, hit = 1;
		else
			putch(&out, b.p[i++]);
	if (hit && (err = spill(argv[1], out.p, out.n, mode(argv[1], 1) & 0777)) < 0)
		return complain("replace", argv[1], err), 2;
	return !hit;
}
static int a_basename(int argc, char **argv)
{
	char *base = argc > 1 ? (char *)basename(argv[1]) : "";
	long n = len(base), cut = argc > 2 ? len(argv[2]) : 0;
	if (cut && cut < n && eq(base + n - cut, argv[2]))
		base = copy(base, n - cut);
	return a_echo(2, (char *[]){ 0, base });
}
static int a_dirname(int argc, char **argv) { return a_echo(2, (char *[]){ 0, argc > 1 ? dirname(argv[1]) : "." }); }
static int a_pwd(int argc, char **argv) { (void)argc, (void)argv; char *s = alloc(4096); CALL(getcwd, s, 4096); return a_echo(2, (char *[]){ 0, s }); }
static int a_uname(int argc, char **argv) { return a_echo(2, (char *[]){ 0, argc > 1 && eq(argv[1], "-m") ? MACHINE : "Linux" }); }
static int a_env(int argc, char **argv)
{
	(void)argc, (void)argv;
	for (char **e = environment(); *e; e++)
		a_echo(2, (char *[]){ 0, *e });
	return 0;
}

static int truth(int n, char **v)
{
	if (n > 1 && eq(v[0], "!"))
		return !truth(n - 1, v + 1);
	if (n < 2)
		return n && *v[0];
	if (n == 2) {
		int m = mode(v[1], !find("Lh", v[0][1])), type = m & S_IFMT;
		struct buf b = {0};
		switch (v[0][1]) {
		case 'n': return !!*v[1];
		case 'z': return !*v[1];
		case 'e': return !!m;
		case 'f': return type == S_IFREG;
		case 'd': return type == S_IFDIR;
		case 'L': case 'h': return type == S_IFLNK;
		case 'x': return !!(m & 0111);
		case 'w': return !!(m & 0222);
		case 'r': return !!(m & 0444);
		case 's': return slurpfile(v[1], &b) == 0 && b.n;
		}
	} else if (n == 3) {
		long a = number(v[0]), b = number(v[2]);
		if (eq(v[1], "=") || eq(v[1], "==")) return eq(v[0], v[2]);
		if (eq(v[1], "!=")) return !eq(v[0], v[2]);
		if (eq(v[1], "-eq")) return a == b;
		if (eq(v[1], "-ne")) return a != b;
		if (eq(v[1], "-lt")) return a < b;
		if (eq(v[1], "-le")) return a <= b;
		if (eq(v[1], "-gt")) return a > b;
		if (eq(v[1], "-ge")) return a >= b;
	}
	complain("test", "expression not understood", 0);
	die(2);
	return 0;
}
static int a_test(int argc, char **argv)
{
	if (eq(argv[0], "[") && !eq(argv[--argc], "]"))
		return complain("[", "missing ]", 0), 2;
	return !truth(argc - 1, argv + 1);
}

/* --------------------------------------------------------- applets: files -- */

/* options sets the bit of each letter met, and moves what is no option to the front. */
static u64 options(int *argc, char **argv)
{
	u64 set = 0;
	int n = 1, all = *argc;
	for (int i = 1; i < all; i++)
		if (*argv[i] == '-' && argv[i][1]) {
			for (char *c = argv[i] + 1; *c; c++)
				set |= 1UL << (*c & 63);
		} else
			argv[n++] = argv[i];
	*argc = n;
	return set;
}
static int has(u64 set, char letter) { return set >> (letter & 63) & 1; }

static int a_mkdir(int argc, char **argv)
{
	u64 opt = options(&argc, argv);
	for (int i = 1; i < argc; i++) {
		long err = has(opt, 'p') ? makedirs(argv[i]) : CALL(mkdirat, CWD, argv[i], 0777);
		if (err < 0)
			return complain("mkdir", argv[i], err);
	}
	return 0;
}
static int a_rm(int argc, char **argv)
{
	u64 opt = options(&argc, argv);
	for (int i = 1; i < argc; i++) {
		long err = has(opt, 'r') ? removetree(argv[i]) : CALL(unlinkat, CWD, argv[i], 0);
		if (err < 0 && !has(opt, 'f'))
			return complain("rm", argv[i], err);
	}
	return 0;
}
/* each calls act for every source and the place it goes to; a directory receives the sources under their names. */
static int each(const char *who, int argc, char **argv, long act(const char *, const char *))
{
	if (argc < 3)
		return complain(who, "a source and a target are needed", 0);
	char *to = argv[argc - 1];
	for (int i = 1; i < argc - 1; i++) {
		long err = act(argv[i], isdir(to) ? join(to, "/", basename(argv[i])) : to);
		if (err < 0)
			return complain(who, argv[i], err);
	}
	return 0;
}
static long rename(const char *from, const char *to) { return CALL(renameat, CWD, from, CWD, to); }
static long symlink(const char *from, const char *to) { return CALL(symlinkat, from, CWD, to); }
static long resymlink(const char *from, const char *to) { CALL(unlinkat, CWD, to, 0); return symlink(from, to); }
static int a_cp(int argc, char **argv) { options(&argc, argv); return each("cp", argc, argv, copytree); }
static int a_mv(int argc, char **argv) { options(&argc, argv); return each("mv", argc, argv, rename); }
static int a_ln(int argc, char **argv)
{
	u64 opt = options(&argc, argv);
	return each("ln", argc, argv, has(opt, 'f') ? resymlink : symlink);
}

static int octal(const char *s) { int n = 0; for (; *s; s++) n = n * 8 + *s - '0'; return n; }
static long chmodtree(const char *path, const char *how, int recurse)
{
	int m = mode(path, 0), bits = 0;
	if ((m & S_IFMT) == S_IFLNK)
		return 0;
	const char *op = how;
	while (*op && !find("+-", *op))
		op++;
	for (const char *c = op; *c; c++)
		bits |= *c == 'r' ? 0444 : *c == 'w' ? 0200 : *c == 'x' || (*c == 'X' && isdir(path)) ? 0111 : 0;
	m = digit(*how) ? octal(how) : *op == '-' ? (m & ~bits) : (m | bits);
	long err = CALL(fchmodat, CWD, path, m & 07777);
	if (recurse && isdir(path)) {
		struct list l = entries(path);
		for (long i = 0; i < l.n; i++)
			chmodtree(join(path, "/", l.v[i]), how, 1);
	}
	return err;
}
static int a_chmod(int argc, char **argv)
{
	int recurse = argc > 1 && eq(argv[1], "-R");
	for (int i = 2 + recurse; i < argc; i++) {
		long err = chmodtree(argv[i], argv[1 + recurse], recurse);
		if (err < 0)
			return complain("chmod", argv[i], err);
	}
	return 0;
}
static int a_install(int argc, char **argv)
{
	int perm = 0755, parents = 0, dirs = 0, n = 1;
	for (int i = 1; i < argc; i++) {
		if (*argv[i] != '-') {
			argv[n++] = argv[i];
			continue;
		}
		for (char *c = argv[i] + 1; *c; c++) {
			parents |= *c == 'D', dirs |= *c == 'd';
			if (*c == 'm') {
				perm = octal(c[1] ? c + 1 : argv[++i]);
				break;
			}
		}
	}
	for (int i = 1; dirs && i < n; i++) {
		long err = makedirs(argv[i]);
		if (err < 0)
			return complain("install", argv[i], err);
	}
	if (dirs)
		return 0;
	if (n < 3)
		return complain("install", "a source and a target are needed", 0);
	char *to = argv[n - 1];
	if (parents && to[len(to) - 1] != '/' && !isdir(to))
		makedirs(dirname(to));
	else if (parents)
		makedirs(to);
	for (int i = 1; i < n - 1; i++) {
		struct buf b = {0};
		char *target = isdir(to) ? join(to, "/", basename(argv[i])) : to;
		long err = slurpfile(argv[i], &b);
		if (err < 0 || (err = spill(target, b.p, b.n, perm)) < 0)
			return complain("install", argv[i], err);
	}
	return 0;
}
static int a_ls(int argc, char **argv)
{
	options(&argc, argv);
	struct list l = entries(argc > 1 ? argv[1] : ".");
	for (long i = 0; i < l.n; i++)
		a_echo(2, (char *[]){ 0, l.v[i] });
	return 0;
}
static int a_touch(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		long fd = CALL(openat, CWD, argv[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
		if (fd < 0)
			return complain("touch", argv[i], fd);
		CALL(close, fd);
	}
	return 0;
}
static int a_readlink(int argc, char **argv)
{
	char *to = argc > 1 ? readlink(argv[argc - 1]) : 0;
	return to ? a_echo(2, (char *[]){ 0, to }) : 1;
}
static int a_mktemp(int argc, char **argv)
{
	u64 opt = options(&argc, argv);
	char name[] = "tmp.xxxxxxxxxx", *tmp = get("TMPDIR");
	u8 random[10];
	CALL(getrandom, random, sizeof random, 0);
	for (int i = 0; i < 10; i++)
		name[4 + i] = "abcdefghijklmnopqrstuvwxyz012345"[random[i] & 31];
	char *path = join(tmp ? tmp : "/tmp", "/", name);
	long err = has(opt, 'd') ? CALL(mkdirat, CWD, path, 0700) : spill(path, "", 0, 0600);
	return err < 0 ? complain("mktemp", path, err) : a_echo(2, (char *[]){ 0, path });
}

/* --------------------------------------------- applets: processes and load -- */

static int a_sleep(int argc, char **argv)
{
	long time[2] = { argc > 1 ? number(argv[1]) : 0, 0 };
	const char *dot = argc > 1 ? find(argv[1], '.') : 0;
	for (long unit = 100000000; dot && digit(*++dot); unit /= 10)
		time[1] += (*dot - '0') * unit;
	CALL(nanosleep, time, 0);
	return 0;
}
static int a_kill(int argc, char **argv)
{
	int sig = argc > 2 ? number(argv[1] + 1) : 15;
	return CALL(kill, number(argv[argc - 1]), sig) < 0;
}
static u64 fnv(u64 hash, const char *s, long n)
{
	for (long i = 0; i < n; i++)
		hash = (hash ^ (u8)s[i]) * 0x100000001b3UL;
	return hash;
}
static char *hex(u64 v)
{
	struct buf b = {0};
	for (int shift = 60; shift >= 0; shift -= 4)
		putch(&b, "0123456789abcdef"[v >> shift & 15]);
	return b.p;
}
static u64 digesttree(u64 hash, const char *path)
{
	struct buf b = {0};
	if (!isdir(path)) {
		slurpfile(path, &b);
		return fnv(hash, b.p, b.n);
	}
	struct list l = entries(path);
	for (long i = 0; i < l.n; i++)
		hash = digesttree(fnv(hash, l.v[i], len(l.v[i])), join(path, "/", l.v[i]));
	return hash;
}
/* digest PATH…: one number over the names and contents of files and trees. */
static int a_digest(int argc, char **argv)
{
	u64 hash = 0xcbf29ce484222325UL;
	for (int i = 1; i < argc; i++)
		hash = digesttree(hash, argv[i]);
	return a_echo(2, (char *[]){ 0, hex(hash) });
}
/* burn N: N million rounds of arithmetic, to keep a core busy. */
static int a_burn(int argc, char **argv)
{
	u64 x = 1;
	for (long i = argc > 1 ? number(argv[1]) * 1000000 : 0; i; i--)
		x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9UL + 1;
	return a_echo(3, (char *[]){ 0, "burned", hex(x) });
}
/* flood BYTES: numbered lines of 64 bytes, as a talkative compiler would print them. */
static int a_flood(int argc, char **argv)
{
	long left = argc > 1 ? number(argv[1]) / 64 : 0;
	static char block[1024 * 64];
	for (long i = 0; i < left;) {
		long n = 0;
		for (; n < 1024 && i < left; n++, i++) {
			char *line = memset(block + n * 64, '.', 64), digits[] = "line 000000000 ";
			long v = i;
			for (int d = 13; v; v /= 10)
				digits[d--] = '0' + v % 10;
			memcpy(line, digits, 15), line[63] = '\n';
		}
		writeall(1, block, n * 64);
	}
	return 0;
}

/* --------------------------------------------------------- applets: elf -- */

/*
 * elf OUT TEXT [NOTE…]: an executable that prints TEXT and a newline and exits with 0. The notes are
 * carried along unprinted, as a linker's RUNPATH or build id would be; Nix finds store paths in them.
 */
static int a_elf(int argc, char **argv)
{
#if defined(__x86_64__)
	/* mov edi, 1; lea rsi, [rip + 21]; mov edx, SIZE; mov eax, 1; syscall; xor edi, edi; mov eax, 60; syscall */
	u8 code[] = { 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 21, 0, 0, 0, 0xba, 0, 0, 0, 0, 0xb8, 1, 0, 0, 0,
		      0x0f, 5, 0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 5 };
	enum { EM = 62, SIZE = 13 };
#else
	/* mov x0, 1; adr x1, . + 32; ldr w2, . + 24; mov x8, 64; svc 0; mov x0, 0; mov x8, 93; svc 0; .word SIZE */
	u32 code[] = { 0xd2800020, 0x10000101, 0x180000c2, 0xd2800808, 0xd4000001, 0xd2800000, 0xd2800ba8, 0xd4000001, 0 };
	enum { EM = 183, SIZE = 32 };
#endif
	if (argc < 3)
		return complain("elf", "usage: elf OUT TEXT [NOTE…]", 0);
	struct buf b = {0}, tail = {0};
	puts_(&tail, argv[2]), putch(&tail, '\n');
	u32 size = tail.n;
	memcpy((u8 *)code + SIZE, &size, 4);
	for (int i = 3; i < argc; i++)
		putch(&tail, 0), puts_(&tail, argv[i]);
	enum { BASE = 0x400000, HEAD = 64 + 56 };
	u64 total = HEAD + sizeof code + tail.n;
	struct {
		u8 ident[16]; u16 type, machine; u32 version; u64 entry, phoff, shoff; u32 flags;
		u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
		u32 ptype, pflags; u64 offset, vaddr, paddr, filesz, memsz, align;
	} head = {
		{ 0x7f, 'E', 'L', 'F', 2, 1, 1 }, 2, EM, 1, BASE + HEAD, 64, 0, 0, 64, 56, 1, 0, 0, 0,
		1, 5, 0, BASE, BASE, total, total, 0x10000,
	};
	put(&b, (char *)&head, HEAD);
	put(&b, (char *)code, sizeof code);
	put(&b, tail.p, tail.n);
	long err = spill(argv[1], b.p, b.n, 0755);
	return err < 0 ? complain("elf", argv[1], err) : 0;
}

/* --------------------------------------------------------------- the rest -- */

static const struct { const char *name; applet *run; } applets[] = {
	{ ".", a_source }, { ":", a_true }, { "[", a_test }, { "basename", a_basename }, { "bash", a_sh },
	{ "break", a_break }, { "burn", a_burn }, { "cat", a_cat }, { "cd", a_cd }, { "chmod", a_chmod },
	{ "continue", a_continue }, { "cp", a_cp }, { "declare", a_declare }, { "digest", a_digest },
	{ "dirname", a_dirname }, { "echo", a_echo }, { "elf", a_elf }, { "env", a_env }, { "eval", a_eval },
	{ "exec", a_exec }, { "exit", a_exit }, { "export", a_export }, { "false", a_false }, { "flood", a_flood },
	{ "grep", a_grep }, { "install", a_install }, { "kill", a_kill }, { "ln", a_ln }, { "local", a_local },
	{ "ls", a_ls }, { "mkdir", a_mkdir }, { "mktemp", a_mktemp }, { "mv", a_mv }, { "printf", a_printf },
	{ "pwd", a_pwd }, { "read", a_read }, { "readlink", a_readlink }, { "replace", a_replace },
	{ "return", a_return }, { "rm", a_rm }, { "set", a_set }, { "sh", a_sh }, { "shift", a_shift },
	{ "sleep", a_sleep }, { "source", a_source }, { "test", a_test }, { "touch", a_touch }, { "true", a_true },
	{ "uname", a_uname }, { "unset", a_unset },
};

static applet *findapplet(const char *name)
{
	for (u64 i = 0; i < sizeof applets / sizeof *applets; i++)
		if (eq(applets[i].name, name))
			return applets[i].run;
	return 0;
}

__attribute__((used)) void kit_main(long *stack)
{
	int argc = *stack;
	char **argv = (char **)(stack + 1);
	for (char **e = argv + argc + 1; *e; e++) {
		const char *is = find(*e, '=');
		if (is)
			set(*e, is - *e, (char *)is + 1)->exported = 1;
	}
	CALL(umask, 022);
	applet *run = argc ? findapplet(basename(argv[0])) : 0;
	if (!run && argc > 1)
		argv++, argc--, run = findapplet(argv[0]);
	if (!run)
		complain("kit", argc ? argv[0] : "what?", -ENOENT), die(127);
	die(run(argc, argv));
}
