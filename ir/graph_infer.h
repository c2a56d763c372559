/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the shape rules of graph_infer.c and graph_infer_ops.c: what they read and how they say what is wrong.
 */
#ifndef IR_GRAPH_INFER_H
#define IR_GRAPH_INFER_H

#include "ir/graph_inside.h"

struct infer {
    const struct op *op;
    struct dim_table *t;
    struct type *out;
    int n;
    graph_equal_fn *unsure; /* gets pairs of dims that must be equal and are not known to be; NULL: nobody asks */
    void *user;
    bool or_one; /* the pairs at hand are those of a broadcast */
};

#define BAD(f, ...) infer_bad((f)->op, __VA_ARGS__)
enum yj_status infer_bad(const struct op *op, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct type *infer_result(struct infer *f, enum yj_dtype dtype); /* the next result, of rank 0 */
void infer_add(struct type *t, dim d);
bool infer_differ(struct infer *f, dim a, dim b); /* known to be different, where they must be equal */
bool infer_negative(struct infer *f, dim d);      /* known to be negative */
const char *infer_type_of(struct infer *f, int operand);
const char *infer_dim_text(struct infer *f, dim d);
enum yj_status infer_axis(struct infer *f, const char *what, int64_t axis, int rank);
enum yj_status infer_axes(struct infer *f, const char *what, const int64_t *axes, int n, int rank);
enum yj_status infer_count(struct infer *f, const char *name, int n, int want);
enum yj_status infer_dtype(struct infer *f, const char *attr, enum yj_dtype *dtype);
bool infer_kind_in(const char *kind, const char *const *list);

/* Rules that graph_infer_ops.c holds. */
#define INFER_RULE(name) enum yj_status rule_##name(struct infer *f)
INFER_RULE(gather);
INFER_RULE(gather_nd);
INFER_RULE(scatter);
INFER_RULE(update_slice);
INFER_RULE(reduce);
INFER_RULE(arg_reduce);
INFER_RULE(cumulative);
INFER_RULE(sort);
INFER_RULE(dot);
INFER_RULE(convolution);
INFER_RULE(reduce_window);
INFER_RULE(composite);
INFER_RULE(if);
INFER_RULE(loop);
INFER_RULE(bind);
INFER_RULE(all_reduce);
INFER_RULE(all_gather);
INFER_RULE(reduce_scatter);
INFER_RULE(all_to_all);

#endif
