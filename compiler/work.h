/* SPDX-License-Identifier: Apache-2.0
 *
 * How much an op computes and moves, at given values of the dims: what overlap and inspect count with.
 */
#ifndef COMPILER_WORK_H
#define COMPILER_WORK_H

#include "ir/graph.h"

struct work {
    double flops, bytes;
}; /* a multiply-add is two; bytes: operands and results, each once */

/* Of OP with its regions. BIND gives the dims' values; one it does not know counts as 1. */
struct work op_work(const struct op *op, dim_bind_fn *bind, void *user);
double type_bytes_at(const struct type *t, dim_bind_fn *bind, void *user);
/* Every symbol at its high bound up to 128, else at 128 or its low bound: what passes compare costs at. */
bool work_nominal(void *unused, dim symbol, int64_t *value);

#endif
