/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels as source text, for chips that bring their own compiler, and as the second opinion on emit_llvm.
 *   emit_source.c        the head, loops, statements       emit_source_expr.c  expressions, dims, elements of buffers
 *   emit_source_ops.c    the functions for scalar ops and casts that a source needs, and no others
 */
#ifndef COMPILER_EMIT_SOURCE_H
#define COMPILER_EMIT_SOURCE_H

#include "ir/kernel.h"

enum source_dialect {
    /* C11 with the builtins of gcc and clang. Each kernel is one function of kernel ABI 1, named as the kernel is;
     * the only undefined symbols may be fma, sqrt and rounding functions, where the chip has no instruction for them,
     * and memcpy and memset, which compilers make of loops. A kernel with barriers is YJ_ERR_UNSUPPORTED. */
    SOURCE_C,
    /* OpenCL C 1.2. __kernel void NAME(buffers in argument order, long dims in order, long first_tile, __global uchar
     * *scratch, __global struct yj_fault *fault): one work-group a tile, from tile first_tile + get_group_id(0) on; the
     * local size is that of the lane nest, in one dimension, or 1. scratch has kernel_scratch_bytes for each group of
     * the launch, or may be NULL if that is 0. SHARED buffers are __local. */
    SOURCE_OPENCL,
};

/* Appends the source of N kernels, which are verified and are not changed. */
enum yj_status emit_source(const struct kernel *const *kernels, int n, enum source_dialect dialect, struct text *out);
/* What the compiler of the dialect must be told so that the bits are right. */
const char *emit_source_options(enum source_dialect dialect);
/* The local size of an OpenCL kernel: the product of its lane loops, or 1. */
int64_t emit_source_lanes(const struct kernel *k);

#endif
