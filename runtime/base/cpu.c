/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processor can do, asked of the processor (cpuid) or of the kernel (auxiliary vector, prctl, affinity). One
 * table of words for each instruction set. The names of processor models are never looked at.
 */
#include "runtime/base/cpu.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

struct word {
    const char *name;
    size_t n;
};

static bool word_is(struct word w, const char *name) {
    return strlen(name) == w.n && memcmp(w.name, name, w.n) == 0;
}

/* The words of every architecture, for targets are described on machines of another. x86-64: leaf, register (0 eax, 1
 * ebx, 2 ecx, 3 edx), bit, and which register state the system must keep; else the bit of the kernel's AT_HWCAP. */
enum state { STATE_NONE, STATE_AVX, STATE_AVX512 };
static const struct feature {
    const char *arch, *name;
    unsigned bit, leaf, reg;
    enum state state;
} features[] = {
    {"x86_64", "sse4.2", 20, 1, 2, STATE_NONE},
    {"x86_64", "fma", 12, 1, 2, STATE_AVX},
    {"x86_64", "f16c", 29, 1, 2, STATE_AVX},
    {"x86_64", "avx", 28, 1, 2, STATE_AVX},
    {"x86_64", "avx2", 5, 7, 1, STATE_AVX},
    {"x86_64", "bmi", 3, 7, 1, STATE_NONE},
    {"x86_64", "bmi2", 8, 7, 1, STATE_NONE},
    {"x86_64", "avx512f", 16, 7, 1, STATE_AVX512},
    {"x86_64", "avx512dq", 17, 7, 1, STATE_AVX512},
    {"x86_64", "avx512cd", 28, 7, 1, STATE_AVX512},
    {"x86_64", "avx512bw", 30, 7, 1, STATE_AVX512},
    {"x86_64", "avx512vl", 31, 7, 1, STATE_AVX512},
    {"x86_64", "avx512vnni", 11, 7, 2, STATE_AVX512},
    {"x86_64", "sse4a", 6, 0x80000001, 2, STATE_NONE},
    {"aarch64", "asimd", 1},
    {"aarch64", "fphp", 9},
    {"aarch64", "asimdhp", 10},
    {"aarch64", "asimddp", 20},
    {"aarch64", "sve", 22},
    {"riscv64", "rvv", 'v' - 'a'},
    {"loongarch64", "lsx", 4},
    {"loongarch64", "lasx", 5},
};

static const struct feature *find_feature(const char *arch, struct word w) {
    for (size_t i = 0; i < COUNT(features); i++)
        if (strncmp(arch, features[i].arch, strlen(features[i].arch)) == 0 && word_is(w, features[i].name))
            return &features[i];
    return NULL;
}

#if defined(__x86_64__)

static bool state_kept(enum state state) {
    unsigned a, b, c, d, low, high;
    if (state == STATE_NONE) return true;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return false; /* OSXSAVE */
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    unsigned need = state == STATE_AVX ? 0x6 : 0xe6;
    return (low & need) == need;
}

static bool has_feature(const struct feature *f) {
    unsigned r[4];
    if (!__get_cpuid_count(f->leaf, 0, &r[0], &r[1], &r[2], &r[3])) return false;
    return (r[f->reg] >> f->bit & 1) && state_kept(f->state);
}

int cpu_vector_bits(void) {
    return 0;
}

const char *cpu_arch(void) {
    return "x86_64";
}

#elif defined(__aarch64__)

int cpu_vector_bits(void) {
    if (!cpu_has("sve")) return 0;
    int length = prctl(51 /* PR_SVE_GET_VL */);
    return length < 0 ? 0 : (length & 0xffff) * 8;
}

const char *cpu_arch(void) {
    return "aarch64";
}

#elif defined(__riscv)

int cpu_vector_bits(void) {
    unsigned long bytes;
    if (!cpu_has("rvv")) return 0;
    __asm__ volatile(".insn i 0x73, 2, %0, zero, -990" : "=r"(bytes)); /* csrr vlenb */
    return (int)bytes * 8;
}

const char *cpu_arch(void) {
    return "riscv64";
}

#elif defined(__loongarch__)

int cpu_vector_bits(void) {
    return 0;
}

const char *cpu_arch(void) {
    return "loongarch64";
}

#else

int cpu_vector_bits(void) {
    return 0;
}

const char *cpu_arch(void) {
    return "unknown";
}

#endif

#if !defined(__x86_64__)
static bool has_feature(const struct feature *f) {
    return getauxval(AT_HWCAP) >> f->bit & 1;
}
#endif

static bool has_word(struct word w) {
    const struct feature *f = find_feature(cpu_arch(), w);
    return f && has_feature(f);
}

static bool next_word(const char **text, struct word *w) {
    if (!*text) return false;
    *text += strspn(*text, " ");
    *w = (struct word){*text, strcspn(*text, " ")};
    *text += w->n;
    return w->n > 0;
}

bool cpu_has(const char *minimum) {
    struct word w;
    while (next_word(&minimum, &w))
        if (!has_word(w)) return false;
    return true;
}

int cpu_cores(void) {
    for (int n = 1024; n <= 1 << 16; n *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)n);
        if (!set) break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)n);
        int cores = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (cores > 0) return cores;
        if (errno != EINVAL) break;
    }
    return 1;
}

enum yj_status cpu_check_words(const char *triple, const char *minimum) {
    struct word w;
    char known[512] = "";
    for (size_t i = 0, n = 0; i < COUNT(features) && n < sizeof known; i++)
        if (strncmp(triple, features[i].arch, strlen(features[i].arch)) == 0)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", features[i].name);
    while (next_word(&minimum, &w))
        if (!find_feature(triple, w))
            return report(YJ_ERR_INPUT, "minimum has the word \"%.*s\"; allowed for %s: %s", (int)w.n, w.name, triple,
                          *known ? known : "none");
    return YJ_OK;
}

bool cpu_name_same(const char *a, const char *b) {
    for (; *a && (*a == *b || (strchr("-_", *a) && *b && strchr("-_", *b))); a++, b++)
        continue;
    return *a == *b;
}

enum yj_status cpu_require(const char *minimum, int vector_bits) {
    struct word w;
    while (next_word(&minimum, &w))
        if (!has_word(w))
            return report(YJ_ERR_UNSUPPORTED, "this %s machine has no %.*s", cpu_arch(), (int)w.n, w.name);
    if (vector_bits && vector_bits != cpu_vector_bits())
        return report(YJ_ERR_UNSUPPORTED,
                      "compiled for vector registers of %d bits, this machine has %d: compile for its length",
                      vector_bits, cpu_vector_bits());
    return YJ_OK;
}
