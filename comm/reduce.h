/* SPDX-License-Identifier: Apache-2.0
 *
 * The arithmetic of collectives: k sources into n destinations, by element type and operator. A table is a versioned
 * struct: there is one of kernels made by our own compiler for each instruction-set level, when the build has the
 * compiler (reduce_compiled.h), and one of plain C, in the same bits:
 *   - sources are joined from left to right; f16, bf16 and fp8 in f32, rounded once at the end
 *   - a NaN result has the canonical bits (0x7fc00000, ...); min and max give NaN if an operand is NaN, and -0 < +0
 *   - integers wrap
 * A destination may be the memory of a source (exactly; other overlaps are not allowed). Buffers are aligned to their
 * elements.
 */
#ifndef COMM_REDUCE_H
#define COMM_REDUCE_H

#include "runtime/base/base.h"

#include <yunjin/comm.h>

typedef void reduce_fn(int ndst, void *const *dst, int nsrc, const void *const *src, size_t count);
/* dst[i] = dst[i] / ranks, for avg; rounded once, integers towards zero. */
typedef void scale_fn(void *dst, size_t count, int ranks);

enum { REDUCE_VERSION = 2, REDUCE_DTYPES = 16, REDUCE_OPS = 12 };
struct reduce_table {
    uint32_t size, version;
    const char *name;                           /* "yunjin x86_64_v3", "c", "c avx2" */
    reduce_fn *join[REDUCE_DTYPES][REDUCE_OPS]; /* NULL: that operator is not defined on the type; AVG joins as SUM */
    scale_fn *scale[REDUCE_DTYPES];
};
/* The tables that this processor can run, best first: number 0, 1, ...; NULL after the last, which is the plain one. */
const struct reduce_table *reduce_table_number(int number);
const struct reduce_table *reduce_table_best(void);
const struct reduce_table *reduce_table_plain(void);
const char *reduce_op_name(uint32_t op); /* "sum", ...; "none" for 0 */
/* Why (DTYPE, OP) cannot be reduced, or YJ_OK. */
enum yj_status reduce_check(uint32_t dtype, uint32_t op);

/* Moves bytes into NDST places. Past the cache where STREAM names destination 0 as memory that is not read soon. */
void move_copy(bool stream, int ndst, void *const *dst, const void *src, size_t bytes);
/* The same for a join. */
void move_join(bool stream, reduce_fn *join, size_t element_bytes, int ndst, void *const *dst, int nsrc,
               const void *const *src, size_t bytes);
/* Orders streamed bytes before what is stored later. */
void move_fence(void);

#endif
