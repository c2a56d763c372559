/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pass is: a function that changes a graph in place, one row in pipeline.c, and keeps what the graph means, to
 * the bit. The driver verifies after each one: a pass may assume a sound graph and must leave one.
 */
#ifndef COMPILER_PASS_H
#define COMPILER_PASS_H

#include "compiler/fuse.h"
#include "compiler/overlap.h"
#include "ir/graph.h"
#include <yunjin/target.h>

struct pass_options {
    const struct yj_target *target; /* whose facts passes may read; NULL: none */
    const char *only;               /* "fold,fuse": only these; NULL: all */
    const char *print_after;        /* the graph goes to PRINT after this pass, or after "all" */
    void (*print)(void *user, const char *text);
    void *user;
    struct fuse_log *fuse_log;       /* what fuse says of the edges that it left; NULL */
    struct overlap_log *overlap_log; /* what overlap decided on each collective; NULL */
};

typedef enum yj_status pass_fn(struct graph *g, const struct pass_options *o);

pass_fn pass_fold, pass_simplify, pass_layout;

/* For fold (flow.c): OP, an `if` or a loop, with what is known outside said inside; true if it changed. */
bool flow_tidy(struct op *op);
bool flow_skip(struct op *op); /* a loop that never turns: its results are replaced by its operands */

/* V as a tensor (free with tensor_free), if it is small and made of small constants alone: for the importer (fold.c).
 */
bool fold_small(const struct value *v, struct tensor *t);

/* Every element of V is the same, *WIDE as element_load gives it (simplify.c). */
bool value_uniform(const struct value *v, uint64_t *wide);

/* A reshape that only adds and drops axes of length 1 (simplify.c). */
bool reshape_of_ones(const struct op *op);

/* All passes in the order of the table. Unknown names in ONLY or PRINT_AFTER are errors that list the known ones. */
enum yj_status pipeline_run(struct graph *g, const struct pass_options *o);

#endif
