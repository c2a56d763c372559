/* SPDX-License-Identifier: Apache-2.0
 *
 * The arithmetic of collectives: k sources into n destinations, by element type and operator. The table is a versioned
 * struct so that kernels made by our compiler at build time can stand in for the plain C ones, in the same bits:
 *   - sources are joined from left to right; f16, bf16 and fp8 in f32, rounded once at the end
 *   - a NaN result has the canonical bits (0x7fc00000, ...); min and max give NaN if an operand is NaN, and -0 < +0
 *   - integers wrap
 * A destination may be the memory of a source (exactly; other overlaps are not allowed).
 */
#ifndef COMM_REDUCE_H
#define COMM_REDUCE_H

#include "runtime/base/base.h"

#include <yunjin/comm.h>

typedef void reduce_fn(int ndst, void *const *dst, int nsrc, const void *const *src, size_t count);
/* dst[i] = dst[i] / ranks, for avg; rounded once, integers towards zero. */
typedef void scale_fn(void *dst, size_t count, int ranks);

enum { REDUCE_VERSION = 1, REDUCE_DTYPES = 16, REDUCE_OPS = 12 };
struct reduce_table {
    uint32_t size, version;
    const char *name;                           /* "c", "c avx2" */
    reduce_fn *join[REDUCE_DTYPES][REDUCE_OPS]; /* NULL: that operator is not defined on the type; AVG joins as SUM */
    scale_fn *scale[REDUCE_DTYPES];
};
/* The best table for this processor. */
const struct reduce_table *reduce_table_best(void);
const struct reduce_table *reduce_table_plain(void);
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
