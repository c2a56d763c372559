/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs compiled kernels of a foreign chip under an emulator: a program without any library, only system calls, so that
 * no cross libc is needed. It maps the shared object whose open file descriptor is given as its argument, and then
 * serves requests (run this kernel on these buffers) over stdin and stdout until stdin ends. emulate.c is the other
 * side.
 *
 * hello:   magic, vector bits of this machine (0: not scalable), 0 or an error number
 * request: magic, bytes of the name, buffers, scalars, first tile, end tile, scratch bytes; the name; the scalars; for
 * each buffer {bytes, 1 in | 2 out}; the bytes of each buffer that is in reply:   magic, fault code, fault value, 0 or
 * an error number; the bytes of each buffer that is out All numbers are 64-bit words in the (little-endian) order of
 * the machine.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long u64;
typedef long i64;

#define MAGIC 0x314b4a59u /* "YJK1" */
#define PAGE 65536ul
#define FILL 0xa5

/* --- system calls --- */

#if defined(__aarch64__)
static long sys(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                     x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
__asm__(".globl _start\n_start: mov x29, #0\n mov x0, sp\n bl start\n");
#define RELATIVE 1027
#elif defined(__riscv)
static long sys(long n, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c,
                     a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
__asm__(".globl _start\n_start: mv a0, sp\n call start\n");
#define RELATIVE 3
#elif defined(__loongarch__)
static long sys(long n, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("$r11") = n, a0 __asm__("$r4") = a, a1 __asm__("$r5") = b, a2 __asm__("$r6") = c,
                     a3 __asm__("$r7") = d;
    register long a4 __asm__("$r8") = e, a5 __asm__("$r9") = f;
    __asm__ volatile("syscall 0"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
                     : "memory", "$r12", "$r13", "$r14", "$r15", "$r16", "$r17", "$r18", "$r19", "$r20");
    return a0;
}
__asm__(".globl _start\n_start: move $r4, $r3\n bl start\n");
#define RELATIVE 3
#elif defined(__x86_64__)
static long sys(long n, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long r = n;
    __asm__ volatile("syscall" : "+a"(r) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "memory", "rcx", "r11");
    return r;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
#define RELATIVE 8
#endif

#if defined(__x86_64__)
enum { SYS_READ = 0, SYS_WRITE = 1, SYS_MMAP = 9, SYS_MPROTECT = 10, SYS_MUNMAP = 11, SYS_EXIT = 231, SYS_LSEEK = 8 };
#else
enum {
    SYS_READ = 63,
    SYS_WRITE = 64,
    SYS_MMAP = 222,
    SYS_MPROTECT = 226,
    SYS_MUNMAP = 215,
    SYS_EXIT = 94,
    SYS_LSEEK = 62
};
#endif

static void leave(int code) {
    for (;;)
        sys(SYS_EXIT, code, 0, 0, 0, 0, 0);
}

void *memcpy(void *to, const void *from, u64 n) {
    volatile u8 *d = to;
    const u8 *s = from;
    for (u64 i = 0; i < n; i++)
        d[i] = s[i];
    return to;
}

void *memset(void *to, int value, u64 n) {
    volatile u8 *d = to;
    for (u64 i = 0; i < n; i++)
        d[i] = (u8)value;
    return to;
}

/* Ends the program quietly when the other side is gone. */
static void get(void *to, u64 n) {
    for (u64 done = 0; done < n;) {
        long r = sys(SYS_READ, 0, (long)to + (long)done, (long)(n - done), 0, 0, 0);
        if (r <= 0) leave(done == 0 && r == 0 ? 0 : 2);
        done += (u64)r;
    }
}

static void put(const void *from, u64 n) {
    for (u64 done = 0; done < n;) {
        long r = sys(SYS_WRITE, 1, (long)from + (long)done, (long)(n - done), 0, 0, 0);
        if (r <= 0) leave(2);
        done += (u64)r;
    }
}

static u8 *map(u64 bytes, int protection) {
    long r = sys(SYS_MMAP, 0, (long)bytes, protection, 0x22, -1, 0);
    if (r < 0 && r > -4096) leave(3);
    return (u8 *)r;
}

/* --- the library --- */

struct elf {
    u8 ident[16];
    u16 type, machine;
    u32 version;
    u64 entry, phoff, shoff;
    u32 flags;
    u16 ehsize, phentsize, phnum;
};
struct segment {
    u32 type, flags;
    u64 offset, address, physical, file_bytes, memory_bytes, align;
};
struct dynamic {
    i64 tag;
    u64 value;
};
struct symbol {
    u32 name;
    u8 info, other;
    u16 section;
    u64 value, size;
};
struct relocation {
    u64 offset, info;
    i64 addend;
};

struct library {
    u8 *base;
    const struct symbol *symbols;
    const char *names;
    u64 names_bytes;
};

static void relocate(struct library *l, const struct dynamic *d) {
    u64 rela = 0, bytes = 0;
    for (; d->tag; d++) {
        if (d->tag == 7) rela = d->value;
        if (d->tag == 8) bytes = d->value;
        if (d->tag == 6) l->symbols = (const struct symbol *)(l->base + d->value);
        if (d->tag == 5) l->names = (const char *)(l->base + d->value);
        if (d->tag == 10) l->names_bytes = d->value;
    }
    const struct relocation *r = (const struct relocation *)(l->base + rela);
    for (u64 i = 0; i < bytes / sizeof *r; i++) {
        if ((r[i].info & 0xffffffff) != RELATIVE) leave(4); /* kernels call and use nothing outside */
        *(u64 *)(l->base + r[i].offset) = (u64)l->base + (u64)r[i].addend;
    }
}

/* Code was written as data: make the instruction fetch see it. */
static void written_code(u8 *base, u64 bytes) {
    (void)base, (void)bytes;
#if defined(__aarch64__)
    for (u8 *p = base; p < base + bytes; p += 16)
        __asm__ volatile("dc cvau, %0" : : "r"(p) : "memory");
    __asm__ volatile("dsb ish" ::: "memory");
    for (u8 *p = base; p < base + bytes; p += 16)
        __asm__ volatile("ic ivau, %0" : : "r"(p) : "memory");
    __asm__ volatile("dsb ish\n isb" ::: "memory");
#elif defined(__riscv)
    __asm__ volatile("fence.i" ::: "memory");
#elif defined(__loongarch__)
    __asm__ volatile("dbar 0\n ibar 0" ::: "memory");
#endif
}

static struct library load(int file) {
    long bytes = sys(SYS_LSEEK, file, 0, 2, 0, 0, 0);
    if (bytes < (long)sizeof(struct elf)) leave(5);
    u8 *image = map((u64)bytes, 3);
    sys(SYS_LSEEK, file, 0, 0, 0, 0, 0);
    for (long done = 0; done < bytes;) {
        long r = sys(SYS_READ, file, (long)image + done, bytes - done, 0, 0, 0);
        if (r <= 0) leave(5);
        done += r;
    }
    const struct elf *elf = (const struct elf *)image;
    const struct segment *s = (const struct segment *)(image + elf->phoff);
    u64 top = 0;
    for (int i = 0; i < elf->phnum; i++)
        if (s[i].type == 1 && s[i].address + s[i].memory_bytes > top) top = s[i].address + s[i].memory_bytes;
    struct library l = {map(top + PAGE, 7), 0, 0, 0};
    l.base = (u8 *)(((u64)l.base + PAGE - 1) & ~(PAGE - 1));
    const struct dynamic *dynamic = 0;
    for (int i = 0; i < elf->phnum; i++) {
        if (s[i].type == 1) memcpy(l.base + s[i].address, image + s[i].offset, s[i].file_bytes);
        if (s[i].type == 2) dynamic = (const struct dynamic *)(l.base + s[i].address);
    }
    if (!dynamic) leave(5);
    relocate(&l, dynamic);
    written_code(l.base, top);
    return l;
}

static int same(const char *a, const char *b) {
    for (; *a && *a == *b; a++, b++)
        continue;
    return *a == *b;
}

static void *find(const struct library *l, const char *name) {
    /* the string table follows the symbols, or stands elsewhere: stop at the first entry that points outside it */
    for (const struct symbol *s = l->symbols + 1; s->name && s->name < l->names_bytes; s++)
        if (s->section && same(l->names + s->name, name)) return l->base + s->value;
    return 0;
}

/* --- buffers: each ends before a page that faults, and what lies between must keep its fill --- */

struct buffer {
    u8 *base, *data;
    u64 bytes, all;
    int flags;
};

static void buffer_new(struct buffer *b, u64 bytes, int flags) {
    u64 pages = (bytes + 64 + PAGE - 1) / PAGE * PAGE;
    b->bytes = bytes;
    b->flags = flags;
    b->all = pages + PAGE;
    b->base = map(b->all, 3);
    sys(SYS_MPROTECT, (long)(b->base + pages), PAGE, 0, 0, 0, 0);
    b->data = b->base + ((pages - bytes) & ~63ul);
    for (u8 *p = b->data + bytes; p < b->base + pages; p++)
        *p = FILL;
    for (u8 *p = b->base; p < b->data && p < b->base + 64; p++)
        *p = FILL;
    for (u8 *p = b->data - 64; p >= b->base && p < b->data; p++)
        *p = FILL;
}

static int buffer_whole(const struct buffer *b) {
    for (const u8 *p = b->data + b->bytes; p < b->base + b->all - PAGE; p++)
        if (*p != FILL) return 0;
    for (const u8 *p = b->data - 64; p >= b->base && p < b->data; p++)
        if (*p != FILL) return 0;
    return 1;
}

static void buffer_free(struct buffer *b) {
    sys(SYS_MUNMAP, (long)b->base, (long)b->all, 0, 0, 0, 0);
}

/* --- one request --- */

struct fault {
    int code, reserved;
    i64 value;
};
typedef void kernel(void *const *, const i64 *, i64, i64, void *, struct fault *);

static void serve(const struct library *l) {
    static char name[4096];
    static struct buffer buffers[256];
    static void *pointers[256];
    static i64 scalars[256];
    u64 head[7], size[2];
    get(head, sizeof head);
    if (head[0] != MAGIC || head[1] >= sizeof name || head[2] > 255 || head[3] > 256) leave(6);
    get(name, head[1]);
    name[head[1]] = 0;
    get(scalars, head[3] * 8);
    for (u64 i = 0; i < head[2]; i++) {
        get(size, sizeof size);
        buffer_new(&buffers[i], size[0], (int)size[1]);
        pointers[i] = buffers[i].data;
    }
    for (u64 i = 0; i < head[2]; i++) {
        if (buffers[i].flags & 1)
            get(buffers[i].data, buffers[i].bytes);
        else
            memset(buffers[i].data, 0xff, buffers[i].bytes < PAGE ? buffers[i].bytes : PAGE);
    }
    struct buffer *scratch = &buffers[head[2]];
    buffer_new(scratch, head[6], 0);
    struct fault fault = {0, 0, 0};
    kernel *k = (kernel *)find(l, name);
    if (k) k(pointers, scalars, (i64)head[4], (i64)head[5], scratch->data, &fault);
    u64 reply[4] = {MAGIC, (u64)fault.code, (u64)fault.value, k ? 0 : 1};
    for (u64 i = 0; i <= head[2]; i++)
        if (!buffer_whole(&buffers[i])) reply[3] = 2 + i;
    put(reply, sizeof reply);
    for (u64 i = 0; i < head[2]; i++)
        if (buffers[i].flags & 2) put(buffers[i].data, buffers[i].bytes);
    for (u64 i = 0; i <= head[2]; i++)
        buffer_free(&buffers[i]);
}

/* SCALABLE: 0 none, 1 SVE, 2 RVV; reading the length traps where there is none. */
static u64 vector_bits(int scalable) {
    u64 bytes = 0;
    (void)scalable;
#if defined(__aarch64__)
    if (scalable == 1) __asm__ volatile(".inst 0x04bf5020\n mov %0, x0" : "=r"(bytes) : : "x0"); /* rdvl x0, #1 */
#elif defined(__riscv)
    if (scalable == 2) __asm__ volatile(".insn i 0x73, 2, %0, zero, -990" : "=r"(bytes)); /* csrr vlenb */
#endif
    return bytes * 8;
}

static int number(const char *text) {
    int n = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (*text - '0');
    return n;
}

__attribute__((used)) void start(u64 *stack) {
    char **argv = (char **)(stack + 1);
    if (stack[0] < 3) leave(1);
    struct library l = load(number(argv[1]));
    u64 hello[3] = {MAGIC, vector_bits(number(argv[2])), 0};
    put(hello, sizeof hello);
    for (;;)
        serve(&l);
}
