/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that try a chip: every scalar op and every conversion, the transcendentals, the chip's own matrix tiles, and
 * forms of statements (check_forms.def). `yunjin test target` runs them on one chip, tests/compiler on all.
 */
#ifndef COMPILER_CHECK_H
#define COMPILER_CHECK_H

#include "ir/kernel.h"
#include <yunjin/target.h>

#define CHECK_OPS 11
#define CHECK_CASTS 15
extern const enum yj_dtype check_op_dtypes[CHECK_OPS], check_cast_dtypes[CHECK_CASTS];

/* One kernel over [N] with a row for each op that DTYPE allows; its loop is of KIND. */
struct kernel *check_ops(struct arena *arena, enum yj_dtype dtype, enum axis_kind kind);
/* From one type to all others. */
struct kernel *check_casts(struct arena *arena, enum yj_dtype from, enum axis_kind kind);
/* Every transcendental of f32. */
struct kernel *check_math(struct arena *arena, enum yj_dtype dtype);
/* A matrix product [M, K * k_group] x [K * k_group, N] with the register tile TILE, the right operand packed. */
enum yj_status check_gemm(struct arena *arena, const struct yj_tile_shape *tile, struct kernel **k);

/* Element I of an input: bit patterns of all sizes, and the numbers at which something changes. */
uint64_t check_wild(enum yj_dtype dtype, int64_t i, uint64_t *random);

#endif
