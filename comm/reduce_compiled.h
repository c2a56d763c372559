/* SPDX-License-Identifier: Apache-2.0
 *
 * What reduce-kernels, a tool of the build, fills in: for each instruction-set level a table of joins made of kernels
 * from our own compiler (compiler/reduce/kernels.c says what they compute). A join is three kernels of kernel ABI 1,
 * and reduce_run (reduce_compiled.c) picks the one that fits a call.
 */
#ifndef COMM_REDUCE_COMPILED_H
#define COMM_REDUCE_COMPILED_H

#include "comm/reduce.h"

#include <yunjin/target.h>

struct reduce_kernels {
    yj_kernel_fn *two_one; /* buffers a, b, d; scalar N */
    yj_kernel_fn *two_two; /* a, b, d, e; N */
    yj_kernel_fn *many;    /* at, x, d; K, N and the elements that x may be read to */
    enum yj_dtype type;
    uint32_t op;
    size_t bytes; /* of an element of TYPE */
};
void reduce_run(const struct reduce_kernels *kernels, int ndst, void *const *dst, int nsrc, const void *const *src,
                size_t count);
void reduce_run_scale(yj_kernel_fn *kernel, void *dst, size_t count, int ranks);

/* Best first; the last one has no table. In builds without the compiler there is no such symbol. */
struct reduce_level {
    const char *needs; /* words of cpu_has */
    int vector_bits;   /* 0, or the only length of registers that the kernels are for */
    const struct reduce_table *table;
};
extern const struct reduce_level reduce_levels[] __attribute__((weak, visibility("hidden")));

#define REDUCE_STUB(name, words)                                                                                       \
    static __attribute__((unused)) void name##_##words(int ndst, void *const *dst, int nsrc, const void *const *src,   \
                                                       size_t count) {                                                 \
        reduce_run(&name##_kernels, ndst, dst, nsrc, src, count *words);                                               \
    }
/* The joins LEVEL_TYPE_OP_1 and _2: of one and of two values of TYPE an element. */
#define COMPILED(level, type, op, TYPE, OP, BYTES)                                                                     \
    extern yj_kernel_fn level##_##type##_##op##_two_one, level##_##type##_##op##_two_two,                              \
        level##_##type##_##op##_many;                                                                                  \
    static const struct reduce_kernels level##_##type##_##op##_kernels = {level##_##type##_##op##_two_one,             \
                                                                          level##_##type##_##op##_two_two,             \
                                                                          level##_##type##_##op##_many,                \
                                                                          TYPE,                                        \
                                                                          OP,                                          \
                                                                          BYTES};                                      \
    REDUCE_STUB(level##_##type##_##op, 1)                                                                              \
    REDUCE_STUB(level##_##type##_##op, 2)
#define COMPILED_SCALE(level, type)                                                                                    \
    extern yj_kernel_fn level##_##type##_scale;                                                                        \
    static void level##_##type##_scale_all(void *dst, size_t count, int ranks) {                                       \
        reduce_run_scale(level##_##type##_scale, dst, count, ranks);                                                   \
    }
#define PLAIN_SCALE(level, type, TYPE)                                                                                 \
    static void level##_##type##_scale_all(void *dst, size_t count, int ranks) {                                       \
        reduce_table_plain()->scale[TYPE](dst, count, ranks);                                                          \
    }

#endif
