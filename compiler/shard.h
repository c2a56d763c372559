/* SPDX-License-Identifier: Apache-2.0
 *
 * Sharding over one mesh axis: what the search (shard.c), the rules (shard_rules.c) and the rewriting (shard_apply.c)
 * share. A value is replicated, split along one dimension, or a pending sum; a strategy says which of these an op takes
 * and gives.
 */
#ifndef COMPILER_SHARD_H
#define COMPILER_SHARD_H

#include "ir/graph.h"

/* >= 0: split along that dimension */
enum { SHARD_REPLICATED = -1, SHARD_PARTIAL = -2 };
#define SHARD_MAX_IN 16
#define SHARD_MAX_STRATEGIES 24

/* What an op takes of each operand and gives as each result. Ops with more than SHARD_MAX_IN operands: all like in[0].
 */
struct strategy {
    signed char in[SHARD_MAX_IN], out[4];
};
struct strategies {
    int n;
    struct strategy row[SHARD_MAX_STRATEGIES];
};

/* The ways to compute OP on RANKS ranks; row 0 is always the replicated one. Splits that do not divide are left out. */
void shard_strategies(struct dim_table *dims, const struct op *op, int ranks, struct strategies *out);

static inline int shard_in(const struct op *op, const struct strategy *s, int i) {
    return s->in[op->n_in > SHARD_MAX_IN ? 0 : i];
}

/* The choice for a graph. */
struct shard_plan {
    const char *axis;
    int axis_index, ranks;
    signed char *input;        /* n_in: state of each input of the graph */
    signed char *output;       /* n_out: state wanted of each output */
    struct strategy *strategy; /* of each op, by op number (order of the list) */
};

/* Shards G over the axes of its mesh; without one, or where sharing does not pay, nothing changes. */
enum yj_status shard_graph(struct graph *g);

/* Rewrites G: local shapes, split constants, slices at this rank's part, collectives and waits where states change. */
enum yj_status shard_apply(struct graph *g, const struct shard_plan *plan);

#endif
