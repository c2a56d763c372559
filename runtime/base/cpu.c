/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processor can do, asked of the processor (cpuid) or of the kernel (auxiliary vector, prctl, affinity). One
 * table of words for each instruction set. The names of processor models are never looked at.
 */
#include "runtime/base/cpu.h"

#include <errno.h>
#include <sched.h>
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

#if defined(__x86_64__)

/* leaf, register (0 eax, 1 ebx, 2 ecx, 3 edx), bit, and which register state the system must keep */
enum state { STATE_NONE, STATE_AVX, STATE_AVX512 };
static const struct {
    const char *name;
    unsigned leaf, reg, bit;
    enum state state;
} features[] = {
    {"sse4.2", 1, 2, 20, STATE_NONE},       {"fma", 1, 2, 12, STATE_AVX},
    {"f16c", 1, 2, 29, STATE_AVX},          {"avx", 1, 2, 28, STATE_AVX},
    {"avx2", 7, 1, 5, STATE_AVX},           {"bmi", 7, 1, 3, STATE_NONE},
    {"bmi2", 7, 1, 8, STATE_NONE},          {"avx512f", 7, 1, 16, STATE_AVX512},
    {"avx512dq", 7, 1, 17, STATE_AVX512},   {"avx512cd", 7, 1, 28, STATE_AVX512},
    {"avx512bw", 7, 1, 30, STATE_AVX512},   {"avx512vl", 7, 1, 31, STATE_AVX512},
    {"avx512vnni", 7, 2, 11, STATE_AVX512}, {"sse4a", 0x80000001, 2, 6, STATE_NONE},
};

static bool state_kept(enum state state) {
    unsigned a, b, c, d, low, high;
    if (state == STATE_NONE) return true;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return false; /* OSXSAVE */
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    unsigned need = state == STATE_AVX ? 0x6 : 0xe6;
    return (low & need) == need;
}

static bool has_word(struct word w) {
    for (size_t i = 0; i < COUNT(features); i++) {
        unsigned r[4];
        if (!word_is(w, features[i].name)) continue;
        if (!__get_cpuid_count(features[i].leaf, 0, &r[0], &r[1], &r[2], &r[3])) return false;
        return (r[features[i].reg] >> features[i].bit & 1) && state_kept(features[i].state);
    }
    return false;
}

int cpu_vector_bits(void) {
    return 0;
}

const char *cpu_arch(void) {
    return "x86_64";
}

#elif defined(__aarch64__)

static bool has_word(struct word w) {
    static const struct {
        const char *name;
        unsigned bit;
    } bits[] = {{"asimd", 1}, {"fphp", 9}, {"asimdhp", 10}, {"asimddp", 20}, {"sve", 22}};
    unsigned long caps = getauxval(AT_HWCAP);
    for (size_t i = 0; i < COUNT(bits); i++)
        if (word_is(w, bits[i].name)) return caps >> bits[i].bit & 1;
    return false;
}

int cpu_vector_bits(void) {
    if (!cpu_has("sve")) return 0;
    int length = prctl(51 /* PR_SVE_GET_VL */);
    return length < 0 ? 0 : (length & 0xffff) * 8;
}

const char *cpu_arch(void) {
    return "aarch64";
}

#elif defined(__riscv)

static bool has_word(struct word w) {
    unsigned long caps = getauxval(AT_HWCAP);
    if (word_is(w, "rvv")) return caps >> ('v' - 'a') & 1;
    return false;
}

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

static bool has_word(struct word w) {
    unsigned long caps = getauxval(AT_HWCAP);
    if (word_is(w, "lsx")) return caps >> 4 & 1;
    if (word_is(w, "lasx")) return caps >> 5 & 1;
    return false;
}

int cpu_vector_bits(void) {
    return 0;
}

const char *cpu_arch(void) {
    return "loongarch64";
}

#else

static bool has_word(struct word w) {
    return false;
}

int cpu_vector_bits(void) {
    return 0;
}

const char *cpu_arch(void) {
    return "unknown";
}

#endif

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
