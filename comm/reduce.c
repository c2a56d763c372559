/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions in plain C, compiled for the plain instruction set and, on x86-64 and where the build makes no kernels by
 * our own compiler, again for AVX2. The scalar words below are branch-free; the same source makes the same bits at any
 * vector length, since nothing is contracted or reordered.
 */
#include "comm/reduce.h"
#include "comm/reduce_compiled.h"
#include "runtime/base/cpu.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* fp8 goes through functions of runtime/base: not vectorised */
#define SAFE_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define SAFE_LOOP _Pragma("GCC ivdep")
#endif
#if defined(__x86_64__) && !defined(REDUCE_COMPILED)
#define AVX2 1
#else
#define AVX2 0
#endif
#define WORD static inline __attribute__((always_inline))

WORD uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}
WORD float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
WORD uint64_t bits_of_double(double f) {
    uint64_t u;
    memcpy(&u, &f, 8);
    return u;
}
WORD double double_of(uint64_t u) {
    double f;
    memcpy(&f, &u, 8);
    return f;
}

WORD float f32_put(float f) {
    return f == f ? f : float_of(0x7fc00000u);
}
WORD double f64_put(double f) {
    return f == f ? f : double_of(0x7ff8000000000000u);
}

WORD float float_min(float a, float b) {
    float equal = float_of(bits_of(a) | bits_of(b)); /* -0 wins */
    float less = a < b ? a : b < a ? b : equal;
    return a == a && b == b ? less : float_of(0x7fc00000u);
}
WORD float float_max(float a, float b) {
    float equal = float_of(bits_of(a) & bits_of(b));
    float more = a > b ? a : b > a ? b : equal;
    return a == a && b == b ? more : float_of(0x7fc00000u);
}
WORD double double_min(double a, double b) {
    double equal = double_of(bits_of_double(a) | bits_of_double(b));
    double less = a < b ? a : b < a ? b : equal;
    return a == a && b == b ? less : double_of(0x7ff8000000000000u);
}
WORD double double_max(double a, double b) {
    double equal = double_of(bits_of_double(a) & bits_of_double(b));
    double more = a > b ? a : b > a ? b : equal;
    return a == a && b == b ? more : double_of(0x7ff8000000000000u);
}

/* The same values as f16_to_f32 and its kin in runtime/base, in a form that compilers vectorise. */
WORD float f16_get(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = (uint32_t)(h & 0x7fffu) << 13;
    uint32_t finite = bits_of(float_of(rest) * 0x1p112f); /* exact, denormals too */
    uint32_t special = rest | 0x7f800000u;
    return float_of(sign | (rest >= 0x0f800000u ? special : finite));
}
WORD uint16_t f16_put(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u, rest = u & 0x7fffffffu;
    uint32_t normal = (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1)) >> 13;
    uint32_t tiny = bits_of(float_of(rest) + 0.5f) - 0x3f000000u; /* the addition rounds to 2^-24 */
    uint32_t finite = rest < 0x38800000u ? tiny : normal;
    uint32_t limited = rest >= 0x477ff000u ? 0x7c00u : finite;
    return (uint16_t)(rest > 0x7f800000u ? 0x7e00u : sign | limited);
}
WORD float bf16_get(uint16_t h) {
    return float_of((uint32_t)h << 16);
}
WORD uint16_t bf16_put(float f) {
    uint32_t u = bits_of(f), rounded = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

/* Integers wrap: in unsigned words at least as wide as int, so that nothing overflows a signed type. */
#define u8_add(a, b) ((uint8_t)((uint32_t)(a) + (uint32_t)(b)))
#define u8_mul(a, b) ((uint8_t)((uint32_t)(a) * (uint32_t)(b)))
#define u16_add(a, b) ((uint16_t)((uint32_t)(a) + (uint32_t)(b)))
#define u16_mul(a, b) ((uint16_t)((uint32_t)(a) * (uint32_t)(b)))
#define u32_add(a, b) ((uint32_t)(a) + (uint32_t)(b))
#define u32_mul(a, b) ((uint32_t)(a) * (uint32_t)(b))
#define u64_add(a, b) ((uint64_t)(a) + (uint64_t)(b))
#define u64_mul(a, b) ((uint64_t)(a) * (uint64_t)(b))

#define ISA(name) plain_##name
#define ISA_NAME "c"
#include "comm/reduce_kernels.h"
#undef ISA
#undef ISA_NAME

#if AVX2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define ISA(name) avx2_##name
#define ISA_NAME "c avx2"
#include "comm/reduce_kernels.h"
#undef ISA
#undef ISA_NAME
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

const struct reduce_table *reduce_table_plain(void) {
    return &plain_table;
}

static const struct reduce_table *avx2(void) {
#if AVX2
    if (__builtin_cpu_supports("avx2")) return &avx2_table;
#endif
    return NULL;
}

const struct reduce_table *reduce_table_number(int number) {
    const struct reduce_level *l = reduce_levels;
    for (; l && l->table; l++)
        if (cpu_has(l->needs) && (!l->vector_bits || l->vector_bits == cpu_vector_bits()) && number-- == 0)
            return l->table;
    if (avx2() && number-- == 0) return avx2();
    return number == 0 ? &plain_table : NULL;
}

/* Kept, as it is always the same: under a hypervisor the processor takes half a millisecond to answer. */
const struct reduce_table *reduce_table_best(void) {
    static const struct reduce_table *_Atomic best;
    const struct reduce_table *table = atomic_load_explicit(&best, memory_order_relaxed);
    if (table) return table;
    table = reduce_table_number(0);
    atomic_store_explicit(&best, table, memory_order_relaxed);
    return table;
}

const char *reduce_op_name(uint32_t op) {
    static const char *const names[] = {"none", "sum", "prod", "min",  "max", "avg",
                                        "band", "bor", "bxor", "land", "lor", "lxor"};
    return op < COUNT(names) ? names[op] : "?";
}

enum yj_status reduce_check(uint32_t dtype, uint32_t op) {
    if (dtype >= REDUCE_DTYPES || !yj_dtype_bytes((enum yj_dtype)dtype))
        return report(YJ_ERR_INPUT, "element type %u is unknown", dtype);
    if (op == 0 || op >= REDUCE_OPS) return report(YJ_ERR_INPUT, "reduction operator %u is unknown", op);
    if (!plain_table.join[dtype][op])
        return report(YJ_ERR_UNSUPPORTED, "reduction operator %s is not defined on %s", reduce_op_name(op),
                      yj_dtype_name((enum yj_dtype)dtype));
    return YJ_OK;
}

/* --- moving --- */

enum { MOVE_CHUNK = 4096 };

/* Copies past the cache where the machine can; DST of any alignment. */
static void stream(char *dst, const char *src, size_t bytes) {
#if defined(__x86_64__)
    size_t head = (size_t)(-(uintptr_t)dst & 15);
    if (head > bytes) head = bytes;
    memcpy(dst, src, head);
    dst += head, src += head, bytes -= head;
    for (; bytes >= 64; dst += 64, src += 64, bytes -= 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)src), b = _mm_loadu_si128((const __m128i *)(src + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(src + 32)), d = _mm_loadu_si128((const __m128i *)(src + 48));
        _mm_stream_si128((__m128i *)dst, a);
        _mm_stream_si128((__m128i *)(dst + 16), b);
        _mm_stream_si128((__m128i *)(dst + 32), c);
        _mm_stream_si128((__m128i *)(dst + 48), d);
    }
#endif
    memcpy(dst, src, bytes);
}

void move_fence(void) {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

void move_copy(bool streaming, int ndst, void *const *dst, const void *src, size_t bytes) {
    for (int i = 1; i < ndst; i++)
        memcpy(dst[i], src, bytes);
    if (dst[0] == src) return;
    if (streaming)
        stream(dst[0], src, bytes);
    else
        memcpy(dst[0], src, bytes);
}

void move_join(bool streaming, reduce_fn *join, size_t element_bytes, int ndst, void *const *dst, int nsrc,
               const void *const *src, size_t bytes) {
    enum { MOST = 64 };
    if (!streaming || nsrc > MOST) {
        join(ndst, dst, nsrc, src, bytes / element_bytes);
        return;
    }
    _Alignas(64) char chunk[MOVE_CHUNK];
    const void *from[MOST];
    for (size_t at = 0; at < bytes; at += MOVE_CHUNK) { /* through a cached place, then out */
        size_t n = bytes - at < MOVE_CHUNK ? bytes - at : MOVE_CHUNK;
        void *cached = ndst > 1 ? (char *)dst[1] + at : chunk;
        for (int s = 0; s < nsrc; s++)
            from[s] = (const char *)src[s] + at;
        join(1, &cached, nsrc, from, n / element_bytes);
        for (int i = 2; i < ndst; i++)
            memcpy((char *)dst[i] + at, cached, n);
        stream((char *)dst[0] + at, cached, n);
    }
}
