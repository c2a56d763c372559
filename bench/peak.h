/* SPDX-License-Identifier: Apache-2.0
 *
 * The peak of fused multiply-adds of one core: twelve chains in registers, more than latency times ports of any core we
 * know. What a matrix product is measured against.
 */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <time.h>

#if defined __x86_64__
#define PEAK(name, isa, bytes, in)                                                                                     \
    typedef float name##_vector __attribute__((vector_size(bytes)));                                                   \
    __attribute__((target(isa), noinline)) static double name(long n) {                                                \
        name##_vector a[12] = {0}, x = {0}, y = {0};                                                                   \
        for (long k = 0; k < n; k++) {                                                                                 \
            PEAK_TWELVE(PEAK_STEP, in)                                                                                 \
        }                                                                                                              \
        PEAK_TWELVE(PEAK_SEE, in)                                                                                      \
        return 2.0 * bytes / 4 * 12 * (double)n;                                                                       \
    }
#define PEAK_STEP(i, in) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+" in(a[i]) : in(x), in(y));
#define PEAK_SEE(i, in) __asm__ volatile("" ::in(a[i]));
#define PEAK_FOUR(X, i, in) X(i, in) X(i + 1, in) X(i + 2, in) X(i + 3, in)
#define PEAK_TWELVE(X, in) PEAK_FOUR(X, 0, in) PEAK_FOUR(X, 4, in) PEAK_FOUR(X, 8, in)
PEAK(peak_512, "avx512f", 64, "v")
PEAK(peak_256, "avx2,fma", 32, "x")

static double peak_steps(int bits, long n) {
    if (bits >= 512 && __builtin_cpu_supports("avx512f")) return peak_512(n);
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? peak_256(n) : 0;
}
#elif defined __aarch64__
typedef float peak_vector __attribute__((vector_size(16)));

static double peak_steps(int bits, long n) {
    peak_vector a[24] = {0}, x = {0}, y = {0};
    for (long k = 0; k < n; k++)
#pragma GCC unroll 24
        for (int i = 0; i < 24; i++)
            __asm__ volatile("fmla %0.4s, %1.4s, %2.4s" : "+w"(a[i]) : "w"(x), "w"(y));
#pragma GCC unroll 24
    for (int i = 0; i < 24; i++)
        __asm__ volatile("" ::"w"(a[i]));
    return 2.0 * 4 * 24 * (double)n;
}
#else
static double peak_steps(int bits, long n) {
    return 0;
}
#endif

static double peak_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GF/s of this thread's core with registers of at most BITS, the best of what MS milliseconds allow; 0: nobody wrote
 * the loop for this chip. */
static double peak_measure(int bits, double ms) {
    double best = 0, begin = peak_now();
    do {
        double from = peak_now(), flops = peak_steps(bits, 20000), s = peak_now() - from;
        if (s > 0 && flops / s / 1e9 > best) best = flops / s / 1e9;
    } while (peak_now() - begin < ms / 1e3);
    return best;
}

#endif
